// SPDX-License-Identifier: Apache-2.0
// One failure, one message, one status: tried on a program that fails where it is told to.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::mpirun_two;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using testing::HasSubstr;

std::vector<std::string> probe(std::vector<std::string> args) {
  args.insert(args.begin(), SWITCHYARD_GUARDED_PROGRAM);
  return args;
}

TEST(GuardedMain, FourRanksPrintTheirResultOnce) {
  const Outcome outcome = run({.words = mpirun(4, probe({}))});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "ranks 4\n");
}

TEST(GuardedMain, WithoutALauncherItIsARunOfOneRank) {
  const Outcome outcome = run({.words = probe({})});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "ranks 1\n");
}

TEST(GuardedMain, ABadFlagOnAllRanksIsOneMessageAndStatusTwo) {
  const Outcome outcome = run({.words = mpirun(3, probe({"--on-rnak", "1"}))});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--on-rnak"));
  EXPECT_THAT(outcome.err, HasSubstr("nearest is --on-rank"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("MPI_ABORT")));
}

TEST(GuardedMain, RanksStartedWithOtherSettingsAreNamed) {
  const Outcome outcome =
      run({.words = mpirun_two(probe({"--seed", "1"}), probe({"--seed", "2"}))});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("rank 1"));
  EXPECT_THAT(outcome.err, HasSubstr("seed"));
}

TEST(GuardedMain, AProblemFoundInPreparationIsAgreedUpon) {
  const Outcome outcome =
      run({.words = mpirun_two(probe({}), probe({"--when", "prepare", "--how", "usage"}))});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("MPI_ABORT")));
}

TEST(GuardedMain, AProblemSharedByAllCarriesTheStatusOfItsKind) {
  for (const auto& [how, status] :
       {std::pair{"usage", 2}, {"io", 74}, {"temporary", 75}, {"internal", 70}}) {
    const Outcome outcome =
        run({.words = mpirun(2, probe({"--when", "together", "--how", how, "--on-rank", "1"}))});
    EXPECT_EQ(outcome.status, status) << how << '\n' << outcome.err;
    EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr("MPI_ABORT")));
  }
}

TEST(GuardedMain, AProblemOfOneRankEndsTheJobWithTheStatusOfItsKind) {
  for (const auto& [how, status] : {std::pair{"io", 74}, {"internal", 70}}) {
    const Outcome outcome =
        run({.words = mpirun(3, probe({"--when", "alone", "--how", how, "--on-rank", "1"}))});
    EXPECT_EQ(outcome.status, status) << how << '\n' << outcome.err;
    EXPECT_EQ(outcome.err_lines("[rank 1/3] switchyard: error: probe"), 1) << outcome.err;
  }
}

TEST(GuardedMain, ARankThatHangsEndsInStatus75WithinTheDeadline) {
  const Outcome outcome =
      run({.words = mpirun(2, probe({"--when", "hang", "--on-rank", "1", "--deadline", "1"})),
           .limit = std::chrono::seconds(10)});
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 75) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("[rank 0/2] switchyard: error: "));
}

TEST(GuardedMain, AFailedCheckOnOneRankIsTheStatusOfAll) {
  const Outcome outcome = run({.words = mpirun(2, probe({"--when", "check", "--on-rank", "1"}))});
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 0) << outcome.err;
}

TEST(GuardedMain, JsonHasWhatItTakesToRunItAgain) {
  const std::filesystem::path file = std::filesystem::path(testing::TempDir()) /
                                     ("guarded_" + std::to_string(::getpid()) + ".json");
  const Outcome outcome =
      run({.words = mpirun(2, probe({"--seed", "7", "--json", file.string()}))});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::ifstream stream(file);
  const auto json = nlohmann::json::parse(stream);
  std::filesystem::remove(file);
  EXPECT_EQ(json.at("command"), "probe");
  EXPECT_EQ(json.at("ranks"), 2);
  EXPECT_EQ(json.at("options").at("seed"), 7);
  EXPECT_EQ(json.at("seen_ranks"), 2);
}

TEST(GuardedMain, AJsonFileThatCannotBeWrittenIsRefusedBeforeTheWork) {
  const Outcome outcome =
      run({.words = mpirun(2, probe({"--json", "/nowhere/result.json", "--when", "alone"}))});
  EXPECT_EQ(outcome.status, 74) << outcome.err;
  EXPECT_EQ(outcome.err_lines("switchyard: error:"), 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("/nowhere/result.json"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("ranks")));
}
}  // namespace
