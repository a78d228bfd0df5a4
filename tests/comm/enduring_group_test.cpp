// SPDX-License-Identifier: Apache-2.0
// A group whose ranks are threads that end, one way or another.
#include "comm/endure/enduring_group.hpp"

#include <array>
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"

namespace switchyard::comm {
namespace {
using testing::ElementsAre;
constexpr std::chrono::minutes kPatient{5};

/// The numbers by which those who are left know each other.
std::vector<int> names(EnduringGroup& group) {
  const int mine = group.name_of(group.rank());
  std::vector<int> all;
  for (const auto& one : allgather_values<int>(group, std::span(&mine, 1))) all.push_back(one[0]);
  return all;
}

TEST(EnduringGroup, GoesOnUnderNewNumbersWhenAnyRankIsLost) {
  for (const int victim : {0, 2, 3}) {
    run_local(4, [&](Group& base) {
      Membership membership(base, 0, kPatient);
      EnduringGroup group(base, membership);
      EXPECT_THAT(names(group), ElementsAre(0, 1, 2, 3));
      barrier(base);
      if (base.rank() == victim) return;
      EXPECT_THROW(static_cast<void>(names(group)), MembershipChanged);
      group.regroup();
      EXPECT_EQ(group.size(), 3);
      EXPECT_EQ(group.name_of(group.rank()), base.rank());
      std::vector<int> left{0, 1, 2, 3};
      std::erase(left, victim);
      EXPECT_EQ(names(group), left);
      membership.depart(0);
    });
  }
}

TEST(EnduringGroup, EndsTheWaitForARankThatIsLostAfterItHasSent) {
  run_local(3, [](Group& base) {
    Membership membership(base, 0, kPatient);
    EnduringGroup group(base, membership);
    const Channel channel = group.new_channel();
    if (base.rank() == 2) static_cast<void>(group.send(0, channel, Buffer(8), {.rows = 8}));
    if (base.rank() == 0) {
      Pending here = group.receive(2, channel, {}, {.rows = 8});
      EXPECT_NO_THROW(group.wait(here));
    }
    barrier(base);
    if (base.rank() == 2) return;
    EXPECT_THROW(
        {
          Pending never = group.receive(2, channel, {}, {.rows = 8});
          group.wait(never);
        },
        MembershipChanged);
    group.regroup();
    EXPECT_EQ(names(group).size(), 2U);
    membership.depart(0);
  });
}

TEST(EnduringGroup, DropsAndCountsMessagesOfAnOldEpoch) {
  std::array<std::int64_t, 3> dropped{};
  run_local(3, [&](Group& base) {
    Membership membership(base, 0, kPatient);
    EnduringGroup group(base, membership);
    const Channel channel = group.new_channel();
    if (base.rank() == 0) static_cast<void>(group.send(1, channel, Buffer(8), {.rows = 8}));
    barrier(base);
    if (base.rank() == 2) return;
    EXPECT_THROW(static_cast<void>(names(group)), MembershipChanged);
    group.regroup();
    EXPECT_EQ(names(group).size(), 2U);
    if (base.rank() == 1) {  // the old message is not taken for one of this epoch
      Pending fresh = group.receive(0, channel, {}, {.rows = 8});
      EXPECT_FALSE(fresh.test());
    }
    group.drop_stale();
    dropped[static_cast<std::size_t>(base.rank())] = group.dropped();
    membership.depart(0);
  });
  EXPECT_GE(dropped[1], 1);
}

TEST(EnduringGroup, LetsRanksLoadForAsLongAsItTakes) {
  run_local(3, [](Group& base) {
    Membership membership(base, 0, std::chrono::milliseconds(20));
    EnduringGroup group(base, membership);
    if (base.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    EXPECT_THAT(names(group), ElementsAre(0, 1, 2));
    EXPECT_EQ(membership.fenced(), 0);
    barrier(base);
    membership.depart(0);
  });
}

TEST(EnduringGroup, TakesARankWithoutASignOfLifeForLost) {
  std::atomic<bool> seen = false;
  run_local(3, [&](Group& base) {
    Membership membership(base, 0, std::chrono::seconds(2));
    EnduringGroup group(base, membership);
    static_cast<void>(names(group));
    barrier(base);
    membership.expect_signs();
    if (base.rank() == 1) {
      while (!seen) std::this_thread::yield();
      EXPECT_THROW(group.check(), MembershipChanged);
      EXPECT_THROW(group.regroup(), TakenForLost);
      return;
    }
    EXPECT_THROW(static_cast<void>(names(group)), MembershipChanged);
    group.regroup();
    EXPECT_THAT(names(group), ElementsAre(0, 2));
    EXPECT_EQ(membership.fenced(), 1);
    seen = true;
    membership.depart(0);
  });
}

TEST(EnduringGroup, LetsASpareTakeAPlaceOnce) {
  run_local(5, [](Group& base) {
    Membership membership(base, 2, kPatient);
    EnduringGroup group(base, membership);
    EXPECT_EQ(group.takes_part(), base.rank() < 3);
    barrier(base);
    if (base.rank() == 0) return;
    if (base.rank() == 4) {
      while (!membership.word().joined(0)) {
        membership.look();
        std::this_thread::yield();
      }
      EXPECT_FALSE(membership.claim(0));  // rank 3 has it
      membership.depart(0);
      return;
    }
    if (base.rank() == 3) {
      while (!membership.word().lost(0)) membership.look();
      EXPECT_TRUE(membership.claim(0));
      membership.join();
    }
    while (!membership.word().joined(0)) {
      membership.look();
      std::this_thread::yield();
    }
    group.regroup();
    EXPECT_TRUE(group.takes_part());
    EXPECT_THAT(names(group), ElementsAre(1, 2, 3));
    membership.depart(0);
  });
}

TEST(Membership, RefusesAJobWithoutARankThatWorks) {
  run_local(2, [](Group& base) {
    EXPECT_THROW(Membership(base, 2, kPatient), CollectiveError);
    EXPECT_THROW(Membership(base, 17, kPatient), CollectiveError);
  });
}
}  // namespace
}  // namespace switchyard::comm
