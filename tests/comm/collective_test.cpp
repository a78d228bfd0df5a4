// SPDX-License-Identifier: Apache-2.0
/// @file
/// Collectives between threads, for sizes that are and are not powers of two.
#include "comm/group/collective.hpp"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>

#include "comm/group/local_group.hpp"
#include "tests/comm/collective_cases.hpp"

namespace switchyard::comm {
namespace {

TEST(Collective, EveryoneHearsEveryoneAtAnySize) {
  for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33}) {
    run_local(ranks, [](Group& group) {
      for (int round = 0; round < 5; ++round) testing::everyone_hears_everyone(group, 60);
    });
  }
}

TEST(Collective, BigPayloadsArriveWhole) {
  run_local(3, [](Group& group) { testing::everyone_hears_everyone(group, 5000000); });
}

TEST(Collective, NobodyLeavesABarrierBeforeTheLastHasCome) {
  std::atomic<int> came = 0;
  run_local(7, [&](Group& group) {
    for (int round = 1; round <= 20; ++round) {
      ++came;
      barrier(group);
      EXPECT_GE(came.load(), 7 * round);
    }
  });
}

TEST(Collective, TheLowestRanksProblemIsEveryonesWithTheNumberOfTheOthers) {
  run_local(5, [](Group& group) {
    testing::problems_are_heard(group, 2, "rank 2: shard 2: missing (and 2 other ranks)");
    testing::problems_are_heard(group, 3, "rank 3: shard 3: missing (and 1 other rank)");
    testing::problems_are_heard(group, 4, "rank 4: shard 4: missing");
    agree(group, std::nullopt);
  });
}

TEST(Collective, AProblemWithoutWordsIsStillAProblem) {
  run_local(2, [](Group& group) {
    std::optional<Problem> mine;
    if (group.rank() == 1) mine = Problem{.status = 2, .message = ""};
    EXPECT_THROW(agree(group, mine), CollectiveError);
  });
}

TEST(Collective, ARankThatNeverComesEndsAtTheDeadline) {
  EXPECT_THROW(run_local(
                   4,
                   [](Group& group) {
                     if (group.rank() != 1) barrier(group);
                   },
                   std::chrono::milliseconds(50)),
               DeadlineError);
}
}  // namespace
}  // namespace switchyard::comm
