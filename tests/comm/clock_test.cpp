// SPDX-License-Identifier: Apache-2.0
/// @file
/// Clocks that are one clock must be found to be one, within the error that is promised.
#include "comm/group/clock.hpp"

#include <cstdlib>
#include <gtest/gtest.h>
#include <thread>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"

namespace switchyard::comm {
namespace {
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

std::int64_t ns(steady_clock::time_point time) {
  return std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count();
}

TEST(AlignedClock, OfThreadsOfOneProcessIsTheSameWithinItsError) {
  for (const int ranks : {1, 2, 3, 8}) {
    run_local(ranks, [](Group& group) {
      AlignedClock clock;
      clock.measure(group);
      const auto before = steady_clock::now();
      std::this_thread::sleep_for(milliseconds(2));
      clock.measure(group);
      EXPECT_LE(std::abs(clock.offset_ns()), clock.error_ns()) << "rank " << group.rank();
      EXPECT_LE(std::abs(clock.root_ns(before) - ns(before)), clock.error_ns() + 1);
      EXPECT_EQ(clock.error_ns() == 0, group.rank() == 0);
    });
  }
}

TEST(AlignedClock, IsThisRanksOwnBeforeAnythingWasMeasured) {
  const AlignedClock clock;
  const auto now = steady_clock::now();
  EXPECT_EQ(clock.root_ns(now), ns(now));
  EXPECT_EQ(clock.error_ns(), 0);
}

TEST(AlignedClock, KeepsTheOrderOfTimes) {
  run_local(2, [](Group& group) {
    AlignedClock clock;
    clock.measure(group);
    std::vector<steady_clock::time_point> times;
    for (int i = 0; i < 50; ++i) {
      times.push_back(steady_clock::now());
      std::this_thread::yield();
    }
    clock.measure(group);
    for (std::size_t i = 1; i < times.size(); ++i) {
      EXPECT_LE(clock.root_ns(times[i - 1]), clock.root_ns(times[i]));
    }
  });
}

TEST(AlignedClock, SaysThatACausePrecedesItsEffectOnAnotherRankWithinBothErrors) {
  run_local(3, [](Group& group) {
    AlignedClock clock;
    clock.measure(group);
    const std::int64_t before = clock.root_ns(steady_clock::now());
    barrier(group);
    const std::int64_t after = clock.root_ns(steady_clock::now());
    const std::vector<std::int64_t> mine{before, after, clock.error_ns()};
    const auto all = allgather_values<std::int64_t>(group, mine);
    for (const auto& one : all) {
      for (const auto& other : all) EXPECT_LE(one[0] - one[2], other[1] + other[2]);
    }
  });
}
}  // namespace
}  // namespace switchyard::comm
