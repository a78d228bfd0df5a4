// SPDX-License-Identifier: Apache-2.0
// What --inject understands, and where its faults fire.
#include <cerrno>
#include <gmock/gmock.h>
#include <new>

#include "runtime/faults/injector.hpp"

namespace {
using switchyard::comm::Attendance;
using switchyard::comm::Deadline;
using switchyard::runtime::Fault;
using switchyard::runtime::FaultAction;
using switchyard::runtime::FaultInjector;
using switchyard::runtime::faults_from;
using switchyard::runtime::placed;
using testing::HasSubstr;
using testing::SizeIs;
using testing::ThrowsMessage;

void say_nothing(std::string_view) {}

TEST(FaultPlan, SaysInWordsWhatGivesItAgain) {
  const auto faults = faults_from("kill@rank=1,step=3,phase=combine;errno=ENOSPC@call=fsync,nth=2");
  ASSERT_THAT(faults, SizeIs(2));
  EXPECT_EQ(faults[0].words(), "kill@nth=1,rank=1,step=3,phase=combine,incarnation=0");
  EXPECT_EQ(faults_from(faults[0].words())[0].words(), faults[0].words());
  EXPECT_EQ(faults[1].value, ENOSPC);
  EXPECT_EQ(faults_from(faults[1].words())[0].words(), faults[1].words());
}

TEST(FaultPlan, WhatIsMisspeltIsRefusedWithTheNearest) {
  EXPECT_THAT([] { static_cast<void>(faults_from("kil@rank=1")); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("nearest is kill")));
  EXPECT_THAT([] { static_cast<void>(faults_from("kill@phase=combin")); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("nearest is combine")));
  EXPECT_THAT([] { static_cast<void>(faults_from("kill@rnak=1")); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("nearest is rank")));
  for (const char* bad : {"", "kill@", "kill@rank=", "kill@rank=-1", "kill@step=3..2", "sleep=x",
                          "errno=ENOSPACE", "kill=3", "skip@meeting=meal", "kill;"}) {
    EXPECT_THROW(static_cast<void>(faults_from(bad)), std::invalid_argument) << bad;
  }
}

TEST(FaultPlan, ASeedDrawsTheSameFromRangesAndRanksEachTime) {
  const auto one = placed(faults_from("kill@step=0..99,seed=5"), 5, 8);
  const auto two = placed(faults_from("kill@step=0..99,seed=5"), 5, 8);
  EXPECT_EQ(one[0].words(), two[0].words());
  EXPECT_NE(one[0].words(), placed(faults_from("kill@step=0..99,seed=6"), 6, 8)[0].words());
  EXPECT_THROW(static_cast<void>(placed(faults_from("kill@rank=8"), 0, 8)), std::invalid_argument);
}

TEST(FaultInjector, FiresAtTheNthPlaceOfItsRankAndSaysSo) {
  std::string said;
  FaultInjector injector(faults_from("throw@rank=1,phase=combine,nth=2"), 1, 0,
                         [&said](std::string_view words) { said += words; });
  Deadline deadline(std::chrono::seconds(1));
  deadline.observe(&injector);
  deadline.at({.step = 0, .layer = 0, .phase = "combine"});
  deadline.at({.step = 1, .layer = 0, .phase = "dispatch"});
  EXPECT_EQ(said, "");
  EXPECT_THROW(deadline.at({.step = 1, .layer = 0, .phase = "combine"}), std::runtime_error);
  EXPECT_EQ(
      said,
      "inject: throw@nth=2,rank=1,phase=combine,incarnation=0 fires in combine, step 1, layer 0");
  deadline.at({.step = 2, .layer = 0, .phase = "combine"});
}

TEST(FaultInjector, LeavesOtherRanksAndLaterIncarnationsAlone) {
  for (const auto& [rank, incarnation] : {std::pair{0, 0}, {1, 1}}) {
    FaultInjector injector(faults_from("bad_alloc@rank=1,phase=expert"), rank, incarnation,
                           say_nothing);
    EXPECT_NO_THROW(injector.at("experts", 0));
  }
  FaultInjector injector(faults_from("bad_alloc@rank=1,phase=expert"), 1, 0, say_nothing);
  EXPECT_THROW(injector.at("experts", 0), std::bad_alloc);
}

TEST(FaultInjector, SkipsOnlyTheMeetingThatItWasTold) {
  FaultInjector injector(faults_from("skip@rank=0,meeting=collect;mismatch@rank=0,meeting=gather"),
                         0, 0, say_nothing);
  Deadline deadline(std::chrono::seconds(1));
  deadline.observe(&injector);
  EXPECT_EQ(deadline.meet({.what = "dispatch"}), Attendance::kEnter);
  EXPECT_EQ(deadline.meet({.what = "collect"}), Attendance::kSkip);
  EXPECT_EQ(deadline.meet({.what = "collect"}), Attendance::kEnter);
  EXPECT_EQ(deadline.meet({.what = "gather"}), Attendance::kElsewhere);
  EXPECT_EQ(deadline.meetings(), 2);
}

TEST(FaultInjector, SpoilsOneFrameAndFailsOneCall) {
  FaultInjector injector(faults_from("corrupt@rank=0,nth=2;disk-full@rank=0,call=pwrite"), 0, 0,
                         say_nothing);
  std::array<std::byte, 8> frame{};
  const auto clean = frame;
  injector.sends({}, frame);
  EXPECT_EQ(frame, clean);
  injector.sends({}, frame);
  EXPECT_NE(frame, clean);
  EXPECT_EQ(injector.fails("open"), 0);
  EXPECT_EQ(injector.fails("pwrite"), ENOSPC);
  EXPECT_EQ(injector.fails("pwrite"), 0);
}
}  // namespace
