// SPDX-License-Identifier: Apache-2.0
// What a supervisor understands and decides, without any process.
#include <gmock/gmock.h>

#include "launch/supervise/hosts.hpp"
#include "launch/supervise/policy.hpp"
#include "launch/supervise/speech.hpp"

namespace {
using namespace switchyard::launch;  // NOLINT(google-build-using-namespace): what is tested
using testing::ElementsAre;
using testing::IsEmpty;

const std::string kRule(74, '-');

std::vector<std::string> heard(Speech& speech, const std::vector<std::string>& lines) {
  std::vector<std::string> out;
  for (const std::string& line : lines) {
    for (const std::string& one : speech.hear(line)) out.push_back(one);
  }
  for (const std::string& one : speech.end()) out.push_back(one);
  return out;
}

TEST(Speech, KeepsErrorsAndLetsTheRestThrough) {
  Speech speech;
  EXPECT_THAT(
      heard(speech, {"[rank 0/2] switchyard: warning: x", "[rank 1/2] switchyard: error: y"}),
      ElementsAre("[rank 0/2] switchyard: warning: x"));
  EXPECT_THAT(speech.errors(), ElementsAre("[rank 1/2] switchyard: error: y"));
}

TEST(Speech, UnderstandsWhichRankASignalKilled) {
  Speech speech;
  EXPECT_THAT(heard(speech, {kRule,
                             "mpirun noticed that process rank 2 with PID 0 on node vm exited on "
                             "signal 9 (Killed).",
                             kRule}),
              IsEmpty());
  ASSERT_TRUE(speech.notice());
  EXPECT_EQ(speech.notice()->rank, 2);
  EXPECT_EQ(speech.notice()->signal, 9);
}

TEST(Speech, UnderstandsWhichRankLeftWithAStatus) {
  Speech speech;
  EXPECT_THAT(
      heard(speech,
            {kRule,
             "mpirun detected that one or more processes exited with non-zero status, thus causing",
             "the job to be terminated. The first process to do so was:", "",
             "  Process name: [[36027,1],3]", "  Exit code:    5", kRule}),
      IsEmpty());
  ASSERT_TRUE(speech.notice());
  EXPECT_EQ(speech.notice()->rank, 3);
  EXPECT_EQ(speech.notice()->status, 5);
}

TEST(Speech, BlocksOfOthersAreLetThroughWhole) {
  Speech speech;
  EXPECT_THAT(heard(speech, {kRule, "There are not enough slots available", kRule}),
              ElementsAre(kRule, "There are not enough slots available", kRule));
  EXPECT_THAT(heard(speech, {kRule, "never closed"}), ElementsAre(kRule, "never closed"));
}

TEST(Policy, WhatRunningAgainCannotHelpIsNotRunAgain) {
  for (const int status : {0, 1, 2}) {
    Policy policy({});
    const Decision decision = policy.decide({.status = status});
    EXPECT_FALSE(decision.again);
    EXPECT_EQ(decision.status, status);
  }
}

TEST(Policy, BacksOffUntilACheckpointStartsAnew) {
  Policy policy({.same_step = 0});
  EXPECT_DOUBLE_EQ(policy.decide({.status = 75}).wait_s, 0.1);
  EXPECT_DOUBLE_EQ(policy.decide({.status = 75}).wait_s, 0.2);
  EXPECT_DOUBLE_EQ(policy.decide({.status = 75, .committed = true}).wait_s, 0.1);
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(policy.decide({.status = 70}).again);
  const Decision last = policy.decide({.status = 74});
  EXPECT_FALSE(last.again);
  EXPECT_EQ(last.status, 74);
}

TEST(Policy, AStepThatFailsThreeTimesIsPoison) {
  Policy policy({});
  EXPECT_TRUE(policy.decide({.status = 75, .step = 7, .committed = true}).again);
  EXPECT_TRUE(policy.decide({.status = 75, .step = 8, .committed = true}).again);
  EXPECT_TRUE(policy.decide({.status = 75, .step = 7, .committed = true}).again);
  const Decision decision = policy.decide({.status = 75, .step = 7, .committed = true});
  EXPECT_FALSE(decision.again);
  EXPECT_THAT(decision.why, testing::HasSubstr("poison step 7"));
}

TEST(Policy, AJobThatWasAskedToLeaveIsNotStartedAgain) {
  Policy policy({});
  EXPECT_FALSE(policy.decide({.status = 75, .asked = true}).again);
}

TEST(Policy, SignalsAndLostRanksAre75) {
  EXPECT_EQ(program_status(137, true), 75);
  EXPECT_EQ(program_status(110, false), 75);
  EXPECT_EQ(program_status(1, false), 1);
  EXPECT_EQ(program_status(1, true), 75);
  for (const int own : {0, 2, 70, 74, 75}) EXPECT_EQ(program_status(own, false), own);
}

TEST(Hosts, AreReadWithTheirSlotsAndProbed) {
  const auto hosts = hosts_from("a:4,b,c-1.example:2");
  EXPECT_EQ(list_of(hosts), "a:4,b:1,c-1.example:2");
  EXPECT_EQ(slots_of(hosts), 7);
  EXPECT_EQ(list_of(reachable(hosts, "test {} != b")), "a:4,c-1.example:2");
  for (const char* bad : {"", "a:", "a:0", "a:x", "a;rm", "a,,b"}) {
    EXPECT_THROW(static_cast<void>(hosts_from(bad)), std::invalid_argument) << bad;
  }
}
}  // namespace
