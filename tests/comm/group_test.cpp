// SPDX-License-Identifier: Apache-2.0
/// @file
/// Buffers, waits and messages, between threads.
#include <chrono>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/base/words.hpp"
#include "comm/group/local_group.hpp"

namespace switchyard::comm {
namespace {
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Buffer word(int value) {
  Buffer buffer(sizeof value);
  std::memcpy(buffer.data(), &value, sizeof value);
  return buffer;
}

int value_of(const Buffer& buffer) {
  int value = 0;
  std::memcpy(&value, buffer.data(), sizeof value);
  return value;
}

constexpr Extent kWord{.row_bytes = sizeof(int), .rows = 1};

TEST(Buffer, IsAlignedKeepsItsRoomAndMovesWhole) {
  Buffer buffer(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
  const std::byte* const data = buffer.data();
  buffer.resize(10);
  buffer.resize(100);
  EXPECT_EQ(buffer.data(), data);
  Buffer other = std::move(buffer);
  EXPECT_EQ(other.data(), data);
  EXPECT_EQ(buffer.size(), 0U);  // NOLINT(bugprone-use-after-move): what is left is promised
  buffer.resize(50);
  EXPECT_NE(buffer.data(), nullptr);
  std::memset(buffer.data(), 1, 50);
}

TEST(Deadline, NamesTheLimitThePhaseThePositionAndThePeer) {
  Deadline deadline(milliseconds(20));
  deadline.at({.step = 17, .layer = 0, .phase = "combine"});
  EXPECT_THAT(
      [&] { deadline.wait([] { return false; }, [] { return std::string("rank 2"); }); },
      ThrowsMessage<DeadlineError>("0.02 s in combine, step 17, layer 0, waiting for rank 2"));
  deadline.at({});
  deadline.phase("handshake");
  EXPECT_THAT([&] { deadline.wait([] { return false; }, [] { return std::string("rank 1"); }); },
              ThrowsMessage<DeadlineError>("0.02 s in handshake, waiting for rank 1"));
}

/// Remembers what it was told.
class Waits final : public WaitRecorder {
 public:
  struct Seen {
    Position at;
    Awaited what;
    Deadline::Clock::duration length;
  };
  void waited(const Position& at, const Awaited& what, Time begin, Time end) noexcept override {
    seen.push_back({at, what, end - begin});
  }
  std::vector<Seen> seen;
};

TEST(Deadline, CountsTheTimeThatItWaitedAndTellsTheRecorder) {
  Deadline deadline(milliseconds(10000));
  Waits waits;
  Awaited awaited{.what = "rows"};
  const auto whom = [] { return std::string("nobody"); };
  int looks = 0;
  const auto late = [&] {
    awaited.peer = 3;
    if (++looks > 20) std::this_thread::sleep_for(milliseconds(1));
    return looks == 25;
  };
  deadline.at({.step = 2, .layer = 1, .phase = "combine"});
  {
    const Recording recording(deadline, &waits);
    deadline.wait(late, whom, awaited);
  }
  ASSERT_EQ(waits.seen.size(), 1U);
  EXPECT_EQ(waits.seen[0].at.phase, "combine");
  EXPECT_EQ(waits.seen[0].at.step, 2);
  EXPECT_EQ(waits.seen[0].what.what, "rows");
  EXPECT_EQ(waits.seen[0].what.peer, 3);
  EXPECT_EQ(waits.seen[0].length, deadline.waited());
  EXPECT_GT(deadline.waited(), milliseconds(1));
  EXPECT_LE(deadline.waited(), milliseconds(10000));
  EXPECT_EQ(deadline.recorder(), nullptr);
  deadline.reset_waited();
  EXPECT_EQ(deadline.waited().count(), 0);
}

TEST(Deadline, WhatIsDoneWithinAFewLooksIsNoWait) {
  Deadline deadline(milliseconds(1000));
  Waits waits;
  const Recording recording(deadline, &waits);
  int looks = 0;
  deadline.wait([&] { return ++looks == 20; }, [] { return std::string("nobody"); });
  EXPECT_EQ(looks, 20);
  EXPECT_EQ(deadline.waited().count(), 0);
  EXPECT_TRUE(waits.seen.empty());
}

TEST(Deadline, AWaitThatFailsIsCountedToo) {
  Deadline deadline(milliseconds(3));
  EXPECT_THROW(deadline.wait([] { return false; }, [] { return std::string("rank 1"); }),
               DeadlineError);
  EXPECT_GE(deadline.waited(), milliseconds(3));
}

TEST(Deadline, LooksOnceMoreAfterTheLimitBeforeItBlamesAnyone) {
  Deadline deadline(milliseconds(0));
  int asked = 0;
  deadline.wait([&] { return ++asked == 21; }, [] { return std::string("nobody"); });
  EXPECT_EQ(asked, 21);
}

TEST(Deadline, TheTimeThatARankWasItselfStoppedIsNobodysFault) {
  Deadline deadline(milliseconds(600));
  int asked = 0;
  const auto stopped_once = [&] {
    if (++asked == 21 || asked == 22) std::this_thread::sleep_for(milliseconds(500));
    return asked == 23;
  };
  EXPECT_NO_THROW(deadline.wait(stopped_once, [] { return std::string("nobody"); }));
  asked = 0;
  const auto always_slow = [&] {
    if (++asked > 20) std::this_thread::sleep_for(milliseconds(300));
    return asked == 30;
  };
  EXPECT_THROW(deadline.wait(always_slow, [] { return std::string("rank 1"); }), DeadlineError);
}

TEST(Words, RanksAreListedSortedAndOnce) {
  EXPECT_EQ(rank_names({2}), "rank 2");
  EXPECT_EQ(rank_names({3, 1, 3}), "ranks 1 and 3");
  EXPECT_EQ(rank_names({4, 3, 2, 1}), "ranks 1, 2, 3 and 4");
  EXPECT_EQ(rank_names({9, 8, 7, 6, 5}), "ranks 5, 6, 7, 8 and 1 other");
}

TEST(Group, MessagesOfOneChannelKeepTheirOrderAndChannelsDoNotMix) {
  run_local(2, [](Group& group) {
    const Channel one{20};
    const Channel other{21};
    if (group.rank() == 0) {
      std::vector<Pending> sends;
      sends.reserve(100);
      for (int i = 0; i < 50; ++i) {
        sends.push_back(group.send(1, one, word(i), kWord));
        sends.push_back(group.send(1, other, word(1000 + i), kWord));
      }
      group.wait_all(sends);
      EXPECT_EQ(value_of(sends[3].take()), 1001) << "a sender gets its buffer back";
      return;
    }
    std::vector<Pending> all;  // posted in order, completed in any
    all.reserve(100);
    for (int i = 0; i < 50; ++i) all.push_back(group.receive(0, other, Buffer(), kWord));
    for (int i = 0; i < 50; ++i) all.push_back(group.receive(0, one, Buffer(), kWord));
    group.wait(all[99]);
    group.wait_all(all);
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(value_of(all[static_cast<std::size_t>(i)].take()), 1000 + i);
      EXPECT_EQ(value_of(all[static_cast<std::size_t>(50 + i)].take()), i);
    }
  });
}

TEST(Group, ARankMayWriteToItself) {
  const auto group = solo_group();
  Pending received = group->receive(0, kCollectives, Buffer(), kWord);
  Pending sent = group->send(0, kCollectives, word(5), kWord);
  group->wait(received);
  group->wait(sent);
  EXPECT_EQ(value_of(received.take()), 5);
}

TEST(Group, AMessageOfAnotherSizeIsRefusedByName) {
  EXPECT_THAT(
      [] {
        run_local(2, [](Group& group) {
          if (group.rank() == 0) {
            Pending sent = group.send(1, kCollectives, word(1), kWord);
            group.wait(sent);
          } else {
            Pending received =
                group.receive(0, kCollectives, Buffer(), {.row_bytes = 1, .rows = 5});
            group.wait(received);
          }
        });
      },
      ThrowsMessage<ProtocolError>("receive: rank 0 sent 4 bytes, want 5"));
}

TEST(Group, AMessageThatCannotBeIsRefusedBeforeItIsSent) {
  const auto group = solo_group();
  EXPECT_THAT([&] { static_cast<void>(group->send(1, kCollectives, word(1), kWord)); },
              ThrowsMessage<std::invalid_argument>("send: rank is 1, want 0 to 0"));
  EXPECT_THAT(
      [&] { static_cast<void>(group->receive(0, kCollectives, Buffer(), {.rows = 3000000000})); },
      ThrowsMessage<std::invalid_argument>(
          HasSubstr("receive: got 3000000000 rows of 1 bytes for rank 0, want 0 to 2147483647")));
  EXPECT_THAT([&] { static_cast<void>(group->send(0, kCollectives, word(1), {.rows = 5})); },
              ThrowsMessage<std::invalid_argument>("send: buffer has 4 bytes, want 5"));
}

TEST(Group, ASilentPeerEndsAtTheDeadlineByName) {
  EXPECT_THAT(
      [] {
        run_local(
            3,
            [](Group& group) {
              group.deadline().at({.step = 3, .layer = 1, .phase = "dispatch"});
              if (group.rank() != 0) return;
              std::vector<Pending> waits;
              waits.push_back(group.receive(2, kCollectives, Buffer(), kWord));
              waits.push_back(group.receive(1, kCollectives, Buffer(), kWord));
              group.wait_all(waits);
            },
            milliseconds(50));
      },
      ThrowsMessage<DeadlineError>(
          "0.05 s in dispatch, step 3, layer 1, waiting for ranks 1 and 2"));
}

TEST(Group, TheFirstRankThatThrowsIsTheOneThatIsHeard) {
  EXPECT_THAT(
      [] {
        run_local(5, [](Group& group) {
          if (group.rank() == 3) throw std::out_of_range("expert 9, want 0 to 7");
          Pending wait = group.receive(3, kCollectives, Buffer(), kWord);
          EXPECT_THAT([&] { group.wait(wait); },
                      ThrowsMessage<TemporaryError>("rank 3 left: expert 9, want 0 to 7"));
          group.wait(wait);
        });
      },
      ThrowsMessage<std::out_of_range>("expert 9, want 0 to 7"));
}

TEST(Group, ChannelsAreNewEachTime) {
  const auto group = solo_group();
  const Channel first = group->new_channel();
  EXPECT_EQ(first, kFirstExchange);
  EXPECT_NE(group->new_channel(), first);
}
}  // namespace
}  // namespace switchyard::comm
