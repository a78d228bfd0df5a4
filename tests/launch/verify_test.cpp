// SPDX-License-Identifier: Apache-2.0
// `verify` from outside: golden files pass at every rank count, and whatever is spoiled is caught.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;

const std::string kGolden = std::string(SWITCHYARD_TEST_DATA) + "/golden/moe";

class Golden : public testing::TestWithParam<int> {};

TEST_P(Golden, EveryFamilyPassesAndRowsReallyCross) {
  const Outcome outcome =
      run({.words = mpirun(GetParam(), switchyard({"verify", "golden", kGolden, "--json", "-"}))});
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["cases"], 28);
  EXPECT_EQ(json["failed"], 0);
  EXPECT_LT(json["worst_over_limit"], 1.0);
  std::int64_t rows_out = 0;
  for (const auto& result : json["results"]) rows_out += result["rows_out"].get<std::int64_t>();
  EXPECT_EQ(rows_out > 0, GetParam() > 1);
}
INSTANTIATE_TEST_SUITE_P(Ranks, Golden, testing::Values(1, 2, 3, 4, 7),
                         testing::PrintToStringParamName());

TEST(GoldenSettings, AlltoallvChunksThreadsAndRoundRobinPassToo) {
  const Outcome outcome =
      run({.words = mpirun(3, switchyard({"verify", "golden", kGolden, "--transport", "alltoallv",
                                          "--chunk-tokens", "2", "--threads-per-rank", "2",
                                          "--placement", "round-robin"}))});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("[alltoallv, "));
}

class Spoiled : public testing::TestWithParam<const char*> {};

TEST_P(Spoiled, IsCaughtByTheGoldenVectors) {
  for (const char* file : {"/mixtral.safetensors", "/llama4.safetensors"}) {
    const Outcome outcome =
        run({.words = mpirun(
                 2, switchyard({"verify", "golden", kGolden + file, "--inject", GetParam()}))});
    EXPECT_EQ(outcome.status, 1) << file << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("FAILED"));
  }
}

TEST_P(Spoiled, IsCaughtByTheLawsWhichShrinkTheCase) {
  const Outcome outcome =
      run({.words = mpirun(2, switchyard({"verify", "laws", "--fuzz", "20", "--seed", "11",
                                          "--inject", GetParam()}))});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("shrunken: seed"));
  EXPECT_THAT(outcome.out, HasSubstr("again: verify laws --fuzz 1 --seed"));
}
INSTANTIATE_TEST_SUITE_P(Stages, Spoiled, testing::Values("kernel", "plan", "router", "combine"),
                         [](const auto& stage) { return std::string(stage.param); });

TEST(Laws, HoldForRandomBlocks) {
  const Outcome outcome =
      run({.words = mpirun(2, switchyard({"verify", "laws", "--fuzz", "60", "--seed", "5000"})),
           .limit = std::chrono::seconds(170)});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("60 cases from seed 5000, 0 failed"));
}

/// A golden file with its header text changed, the data untouched.
std::string changed_golden(const std::string& name, const std::string& from,
                           const std::string& to) {
  std::ifstream in(kGolden + "/mixtral.safetensors", std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto at = bytes.find(from);
  EXPECT_NE(at, std::string::npos);
  EXPECT_EQ(from.size(), to.size()) << "the header's length must not change";
  bytes.replace(at, from.size(), to);
  const std::string file = testing::TempDir() + name;
  std::ofstream(file, std::ios::binary) << bytes;
  return file;
}

TEST(GoldenFile, OfAnUnknownFamilyFails) {
  const auto file =
      changed_golden("family.safetensors", "\"family\":\"mixtral\"", "\"family\":\"mixtrel\"");
  const Outcome outcome = run({.words = mpirun(2, switchyard({"verify", "golden", file}))});
  EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("mixtrel"));
}

TEST(GoldenFile, WithATensorThatNobodyUsesFails) {
  const auto file = changed_golden("tensor.safetensors", "golden.R\"", "golden.Q\"");
  const Outcome outcome = run({.words = mpirun(2, switchyard({"verify", "golden", file}))});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("golden.Q"));
}

TEST(GoldenFile, FolderWithoutAnyFails) {
  const std::string folder = testing::TempDir() + "no_golden";
  std::filesystem::create_directories(folder);
  const Outcome outcome = run({.words = switchyard({"verify", "golden", folder})});
  EXPECT_NE(outcome.status, 0) << outcome.out;
}
}  // namespace
