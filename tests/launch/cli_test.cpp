// SPDX-License-Identifier: Apache-2.0
// The command line from outside: what a user types and what comes back.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::filesystem::path scratch(const std::string& name) {
  return std::filesystem::path(testing::TempDir()) / (std::to_string(::getpid()) + "_" + name);
}

TEST(Cli, HelpNamesEveryCommandAndVersionIsOneLine) {
  const Outcome help = run({.words = switchyard({"--help"})});
  EXPECT_EQ(help.status, 0) << help.err;
  EXPECT_THAT(help.out, HasSubstr("doctor"));
  EXPECT_THAT(help.out, HasSubstr("models show"));
  const Outcome version = run({.words = switchyard({"--version"})});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, testing::MatchesRegex("switchyard [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(Cli, EveryOptionInHelpNamesItsUnit) {
  const Outcome help = run({.words = switchyard({"doctor", "--help"})});
  EXPECT_EQ(help.status, 0) << help.err;
  EXPECT_THAT(help.out, HasSubstr("--json FILE"));
}

TEST(Cli, PlanSaysWhatAModelNeedsAndWhetherItFits) {
  const Outcome outcome =
      run({.words = switchyard({"plan", "--model", "mixtral-8x7b", "--ranks", "8", "--weights",
                                "bfloat16", "--memory-per-rank", "20", "--json", "-"})});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["name"], "mixtral-8x7b");
  EXPECT_EQ(json["total_parameters"], 46702792704);
  EXPECT_EQ(json["memory"]["experts_bytes"], 32LL * 176160768 * 2);
  EXPECT_EQ(json["fits"], true);
  EXPECT_EQ(json["fewest_ranks"], 8);
  EXPECT_GT(json["over_experts"].size(), 3U);
}

TEST(Cli, PlanRefusesMoreNodesThanRanks) {
  const Outcome outcome = run({.words = switchyard({"plan", "--ranks", "2", "--nodes", "3"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("plan: nodes: got 3, want 1 to 2"));
  EXPECT_EQ(outcome.out, "");
}

TEST(Cli, NoCommandIsAUsageError) {
  const Outcome outcome = run({.words = switchyard({})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, StartsWith("switchyard: error: got no command"));
  EXPECT_EQ(outcome.out, "");
}

TEST(Cli, AnUnknownCommandNamesTheNearest) {
  const Outcome outcome = run({.words = switchyard({"docter"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("nearest is doctor"));
}

TEST(Cli, AnUnknownSecondWordNamesTheKnownOnes) {
  const Outcome outcome = run({.words = switchyard({"models", "shwo", "olmoe"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("models: got 'shwo', want show"));
}

TEST(Cli, AnUnknownFlagNamesTheNearest) {
  const Outcome outcome = run({.words = switchyard({"doctor", "--jsn", "-"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("nearest is --json"));
}

TEST(Cli, AFlagGivenTwiceIsAnError) {
  const Outcome outcome = run({.words = switchyard({"doctor", "--json", "-", "--json=-"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--json: got it twice"));
}

TEST(Cli, AbbreviatedFlagsAreRefused) {
  const Outcome outcome = run({.words = switchyard({"doctor", "--js", "-"})});
  EXPECT_EQ(outcome.status, 2);
}

TEST(Cli, AnIgnoredVariableIsNamedWithTheNearest) {
  const Outcome outcome =
      run({.words = switchyard({"doctor"}), .environment = {"SWITCHYARD_JSOM=1"}});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err_lines("switchyard: warning: environment: SWITCHYARD_JSOM"), 1);
  EXPECT_THAT(outcome.err, HasSubstr("nearest is SWITCHYARD_JSON"));
}

TEST(Cli, AFullDiskIsAnIoError) {
  const Outcome outcome = run({.words = switchyard({"models"}), .stdout_file = "/dev/full"});
  EXPECT_EQ(outcome.status, 74);
  EXPECT_THAT(outcome.err, HasSubstr("stdout: No space left on device"));
}

TEST(Cli, AClosedStdoutIsAnIoError) {
  const Outcome outcome = run({.words = switchyard({"models"}), .stdout_file = "-"});
  EXPECT_EQ(outcome.status, 74) << outcome.err;
}

TEST(Cli, AClosedStdoutIsNeverTheJsonFile) {
  const auto file = scratch("closed.json");
  const Outcome outcome =
      run({.words = switchyard({"models", "--json", file.string()}), .stdout_file = "-"});
  EXPECT_EQ(outcome.status, 74) << outcome.err;
  std::ifstream stream(file);
  EXPECT_TRUE(nlohmann::json::accept(stream));
  std::filesystem::remove(file);
}

TEST(Cli, JsonThatCannotBeWrittenIsAnIoErrorThatNamesTheFile) {
  for (const std::string file : {"/nowhere/models.json", "/"}) {
    const Outcome outcome = run({.words = switchyard({"models", "--json", file})});
    EXPECT_EQ(outcome.status, 74) << file;
    EXPECT_THAT(outcome.err, HasSubstr("--json: cannot write " + file));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Cli, JsonGoesToStdoutAloneWhenAskedTo) {
  const Outcome outcome = run({.words = switchyard({"models", "--json", "-"})});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json.at("command"), "models");
  EXPECT_TRUE(json.contains("version"));
  EXPECT_EQ(json.at("models").size(), 30U);
}

TEST(Cli, AJsonFileIsWholeAndLeavesNothingBeside) {
  const auto file = scratch("models.json");
  const Outcome outcome = run({.words = switchyard({"models", "--json", file.string()})});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::ifstream stream(file);
  EXPECT_TRUE(nlohmann::json::accept(stream));
  EXPECT_FALSE(std::filesystem::exists(file.string() + ".tmp"));
  std::filesystem::remove(file);
}

TEST(Cli, ACommandWithoutMpiSpeaksOnceUnderMpirun) {
  const Outcome outcome = run({.words = mpirun(3, switchyard({"--version"}))});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::MatchesRegex("switchyard [0-9.]+\n"));
  const Outcome failed = run({.words = mpirun(3, switchyard({"models", "--nonsense"}))});
  EXPECT_EQ(failed.status, 2);
  EXPECT_EQ(failed.err_lines("switchyard: error:"), 1) << failed.err;
}

TEST(Cli, ModelsAreListedWithTheirCounts) {
  const Outcome outcome = run({.words = switchyard({"models"})});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("olmoe-1b-7b"));
}

TEST(Cli, AModelIsShownByAnyUniqueBeginningAndItsShapeCanBeChanged) {
  const Outcome as_released =
      run({.words = switchyard({"models", "show", "olmoe", "--json", "-"})});
  ASSERT_EQ(as_released.status, 0) << as_released.err;
  const auto released = nlohmann::json::parse(as_released.out);
  const Outcome changed = run({.words = switchyard({"models", "show", "olmoe", "--set",
                                                    "routed_experts=9", "--json", "-"})});
  ASSERT_EQ(changed.status, 0) << changed.err;
  const auto smaller = nlohmann::json::parse(changed.out);
  EXPECT_EQ(smaller.at("routed_experts"), 9);
  EXPECT_LT(smaller.at("total_parameters"), released.at("total_parameters"));
}

TEST(Cli, TensorsOfAModelSumUpToItsParameters) {
  const Outcome outcome =
      run({.words = switchyard({"models", "show", "olmoe", "--tensors", "--json", "-"})});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  std::int64_t sum = 0;
  for (const auto& tensor : json.at("tensors")) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : tensor.at("shape")) elements *= extent;
    sum += elements;
  }
  EXPECT_EQ(sum, json.at("total_parameters"));
}

TEST(Cli, AModelThatDoesNotExistIsAUsageErrorThatNamesTheNearest) {
  const Outcome outcome = run({.words = switchyard({"models", "show", "olmeo-1b-7b"})});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("olmoe-1b-7b"));
}
}  // namespace
