// SPDX-License-Identifier: Apache-2.0
// quantize from outside: what it writes runs, whatever layout it came from; what a user gets wrong
// leaves one message, the right status and no folder.
#include <filesystem>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/launch/bad_input.hpp"

namespace {
namespace fs = std::filesystem;
using switchyard::tests::data;
using switchyard::tests::file_with;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::scratch;
using switchyard::tests::switchyard;
using testing::HasSubstr;

Outcome quantize(const std::string& from, const std::string& to, const std::string& type) {
  return run({.words = switchyard({"quantize", "--checkpoint", from, "--output", to, "--to", type,
                                   "--json", "-"})});
}

std::string ids_of(int ranks, const std::string& checkpoint) {
  const Outcome outcome = run(
      {.words = mpirun(ranks, switchyard({"generate", "--checkpoint", checkpoint, "--prompt-ids",
                                          "5,6,7;9", "--max-new-tokens", "4", "--json", "-"}))});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out).at("sequences").dump();
}

/// Layouts by output and by input, stacks, rows, fused halves, trilinear units.
class Layout : public testing::TestWithParam<const char*> {};

TEST_P(Layout, RunsAndVerifiesAsFarAsItsTypeAllows) {
  const std::string from = data(std::string("golden/") + GetParam());
  for (const std::string type : {"int8", "fp8"}) {
    const std::string to = scratch("quantised");
    fs::remove_all(to);
    const Outcome made = quantize(from, to, type);
    ASSERT_EQ(made.status, 0) << made.err;
    const auto layers = nlohmann::json::parse(made.out).at("layers");
    ASSERT_FALSE(layers.empty());
    EXPECT_GT(layers[0].at("rms_error_of_rms").get<double>(), 0.001);
    EXPECT_EQ(ids_of(1, to), ids_of(3, to));
    const Outcome loss = run({.words = switchyard({"eval", "--checkpoint", to, "--ids",
                                                   file_with("ids", "1 2 3 4 5 6 7 8")})});
    EXPECT_EQ(loss.status, 0) << loss.err;
    const Outcome block =
        run({.words = mpirun(
                 2, switchyard({"run", "--checkpoint", to, "--layers", "1", "--tokens", "8"}))});
    EXPECT_EQ(block.status, 0) << block.err;
    EXPECT_THAT(block.out, HasSubstr("weights " + type));
    // Every tensor is found and every value compared; rounded weights miss the float limits.
    fs::copy(from + "/golden.safetensors", to + "/golden.safetensors");
    const Outcome golden = run({.words = switchyard({"verify", "golden", to})});
    EXPECT_EQ(golden.status, 1) << golden.out << golden.err;
    EXPECT_THAT(golden.out, HasSubstr("1 failed"));
    EXPECT_EQ(golden.err_lines("switchyard: error: "), 0) << golden.err;
  }
}
INSTANTIATE_TEST_SUITE_P(All, Layout,
                         testing::Values("models/mixtral-tiny", "models/gpt-oss-tiny",
                                         "oracle/dbrx-tiny", "oracle/grok1-tiny",
                                         "oracle/llama4-scout-tiny", "oracle/llama4-maverick-tiny",
                                         "oracle/openmoe-tiny", "oracle/jetmoe-tiny",
                                         "oracle/yuan-tiny"),
                         [](const auto& model) {
                           std::string name = fs::path(model.param).filename();
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

/// Words of a command, how it ends, and a part of its message.
struct Wrong {
  std::string name;
  std::vector<std::string> words;
  int status;
  std::string message;
};
void PrintTo(const Wrong& wrong, std::ostream* out) {
  *out << wrong.name;
}

std::string float_model() {
  return data("golden/models/gpt-oss-tiny");
}

std::vector<Wrong> all_wrong() {
  const std::string from = "--checkpoint";
  const std::string to = "--output";
  return {
      {"NoCheckpoint", {to, scratch("x")}, 2, "--checkpoint: got none, want a folder"},
      {"NoOutput", {from, float_model()}, 2, "--output: got none, want a folder"},
      {"UnknownType",
       {from, float_model(), to, scratch("x"), "--to", "int3"},
       2,
       "--to: got 'int3', want int8, fp8 or mxfp4"},
      {"UnknownFlag", {"--outptu", "x"}, 2, "nearest is --output"},
      {"CheckpointNotThere", {from, "/nowhere", to, scratch("x")}, 74, "/nowhere"},
      {"CheckpointIsAFile",
       {from, float_model() + "/config.json", to, scratch("x")},
       2,
       "not a directory"},
      {"CheckpointInCodes",
       {from, data("golden/oracle/deepseek-v3-fp8-tiny"), to, scratch("x")},
       2,
       "dtype, got F8_E4M3, want F32, BF16 or F16"},
      {"InputsThatMxfp4DoesNotFit",
       {from, float_model(), to, scratch("x"), "--to", "mxfp4"},
       2,
       "want a multiple of 32 for mxfp4"},
      {"OutputExists", {from, float_model(), to, "/tmp"}, 2, "/tmp exists, want a new folder"},
      {"OutputIsTheCheckpoint", {from, float_model(), to, float_model()}, 2, "exists"},
      {"OutputInNoFolder", {from, float_model(), to, "/nowhere/x"}, 74, "--output: cannot make"},
      {"OutputInAFile", {from, float_model(), to, "/dev/full/x"}, 74, "--output: cannot make"},
      {"OutputWhereNobodyMayWrite", {from, float_model(), to, "/proc/x"}, 74, "cannot make /proc"},
  };
}

class WrongQuantize : public testing::TestWithParam<Wrong> {};

TEST_P(WrongQuantize, EndsWithOneMessageItsStatusAndNoFolder) {
  fs::remove_all(scratch("x"));
  std::vector<std::string> words{"quantize"};
  words.insert(words.end(), GetParam().words.begin(), GetParam().words.end());
  const Outcome outcome = run({.words = switchyard(words)});
  EXPECT_EQ(outcome.status, GetParam().status) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(GetParam().message));
  EXPECT_EQ(outcome.err_lines("switchyard: error: "), 1) << outcome.err;
  EXPECT_FALSE(fs::exists(scratch("x")));
}
INSTANTIATE_TEST_SUITE_P(All, WrongQuantize, testing::ValuesIn(all_wrong()),
                         [](const auto& wrong) { return wrong.param.name; });

TEST(Quantize, ADiskThatIsFullLeavesNothingBehind) {
  // A limit of the size of files stands for the disk.
  const fs::path folder = scratch("full");
  fs::remove_all(folder);
  fs::create_directories(folder);
  const std::string command = "trap '' XFSZ; ulimit -f 16; exec " +
                              std::string(SWITCHYARD_PROGRAM) + " quantize --checkpoint " +
                              float_model() + " --output " + (folder / "to").string();
  const Outcome outcome = run({.words = {"/bin/bash", "-c", command}});
  EXPECT_EQ(outcome.status, 74) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--output: cannot write " + (folder / "to").string()));
  EXPECT_TRUE(fs::is_empty(folder));
}
}  // namespace
