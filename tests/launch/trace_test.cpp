// SPDX-License-Identifier: Apache-2.0
// `run --trace` from outside: a file that holds together, and a result that does not change.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"
#include "tests/runtime/trace_check.hpp"

namespace {
using switchyard::tests::expect_sound;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;

std::vector<std::string> small_run(std::vector<std::string> more) {
  std::vector<std::string> words{"run",
                                 "--model",
                                 "olmoe",
                                 "--set",
                                 "hidden_size=64",
                                 "--set",
                                 "moe_intermediate_size=48",
                                 "--layers",
                                 "2",
                                 "--tokens",
                                 "40",
                                 "--steps",
                                 "3",
                                 "--json",
                                 "-"};
  words.insert(words.end(), more.begin(), more.end());
  return switchyard(words);
}

std::string file_named(const std::string& name) {
  return testing::TempDir() + name + std::to_string(::getpid());
}

TEST(Trace, OfARunOverMpiIsSoundAndChangesNoDigest) {
  const std::string file = file_named("trace.json");
  const Outcome plain = run({.words = mpirun(3, small_run({}))});
  const Outcome traced =
      run({.words = mpirun(3, small_run({"--trace", file, "--threads-per-rank", "2"}))});
  ASSERT_EQ(traced.status, 0) << traced.out << traced.err;
  std::ifstream stream(file);
  const auto trace = nlohmann::json::parse(stream, nullptr, false);
  ASSERT_FALSE(trace.is_discarded());
  expect_sound(trace, 3, 2);
  const auto result = nlohmann::json::parse(traced.out);
  EXPECT_EQ(result.at("output_digest"), nlohmann::json::parse(plain.out).at("output_digest"));
  EXPECT_EQ(result.at("trace_events"), trace.at("otherData").at("events"));
  EXPECT_EQ(result.at("trace_events_dropped"), 0);
  std::int64_t steps = 0;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.value("cat", "") == "step") ++steps;
  }
  EXPECT_EQ(steps, 3 * 3);  // without the warm-up
  std::filesystem::remove(file);
}

TEST(Trace, OfABenchHasASpanForEveryRepetition) {
  const std::string file = file_named("bench.json");
  const Outcome outcome =
      run({.words = mpirun(
               2, switchyard({"bench", "layer", "--model", "olmoe", "--set", "hidden_size=64",
                              "--set", "moe_intermediate_size=48", "--tokens-per-rank", "4",
                              "--seconds", "0.1", "--trace", file}))});
  ASSERT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("# trace: "));
  std::ifstream stream(file);
  const auto trace = nlohmann::json::parse(stream, nullptr, false);
  ASSERT_FALSE(trace.is_discarded());
  expect_sound(trace, 2, 1);
  std::int64_t steps = 0;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.value("cat", "") == "step") ++steps;
  }
  EXPECT_GE(steps, 2);
  std::filesystem::remove(file);
}

TEST(Trace, ThatForgetsSaysSo) {
  const std::string file = file_named("short.json");
  const Outcome outcome =
      run({.words = mpirun(2, small_run({"--trace", file, "--trace-events", "5"}))});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("more --trace-events keep them"));
  EXPECT_GT(nlohmann::json::parse(outcome.out).at("trace_events_dropped"), 0);
  std::filesystem::remove(file);
}

TEST(Trace, ThatCannotBeWrittenEndsInStatus74BeforeAnythingIsComputed) {
  const Outcome outcome = run({.words = mpirun(2, small_run({"--trace", "/nowhere/trace.json"}))});
  EXPECT_EQ(outcome.status, 74) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--trace: cannot write /nowhere/trace.json"));
}

TEST(Trace, IntoTheFileOfAnotherResultIsRefused) {
  const Outcome outcome = run({.words = small_run({"--trace", "/tmp/a", "--output", "/tmp/a"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--output and --trace: got /tmp/a twice, want two files"));
}

TEST(Trace, OfAPhaseSaysWallWorkAndWaiting) {
  const Outcome outcome = run({.words = mpirun(2, small_run({}))});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto result = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(result.at("phases").size(), 6U);
  for (const auto& phase : result.at("phases")) {
    const double wall = phase.at("mean_ms");
    EXPECT_NEAR(wall,
                phase.at("mean_work_ms").get<double>() + phase.at("mean_wait_ms").get<double>(),
                1e-9 + 1e-9 * wall);
    EXPECT_LE(phase.at("slowest_rank_work_ms"), phase.at("slowest_rank_ms"));
    EXPECT_LE(phase.at("slowest_rank_wait_ms"), phase.at("slowest_rank_ms"));
    EXPECT_GE(phase.at("slowest_rank_work_ms"), phase.at("mean_work_ms"));
  }
}
}  // namespace
