// SPDX-License-Identifier: Apache-2.0
/// @file
/// The group over MPI: messages, collectives, and a peer that does not answer.
#include "comm/group/mpi_group.hpp"

#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <thread>

#include "comm/base/error.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/wire/handshake.hpp"
#include "tests/comm/collective_cases.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

namespace switchyard::comm {
namespace {
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

TEST(MpiGroup, IsADuplicateWithTheSameRanks) {
  const auto group = MpiGroup::world();
  int relation = MPI_UNEQUAL;
  MPI_Comm_compare(group->handle(), MPI_COMM_WORLD, &relation);
  EXPECT_EQ(relation, MPI_CONGRUENT);
  int rank = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  EXPECT_EQ(group->rank(), rank);
}

TEST(MpiGroup, AnEnvironmentInsideAnothersLeavesMpiRunning) {
  { const Environment environment; }
  int finalized = 1;
  MPI_Finalized(&finalized);
  EXPECT_EQ(finalized, 0);
  EXPECT_THAT(mpi_version(), ::testing::MatchesRegex("Open MPI [0-9.]+.*|[^v\n]+.*"));
}

TEST(MpiGroup, EveryoneHearsEveryone) {
  const auto group = MpiGroup::world();
  for (int round = 0; round < 20; ++round) testing::everyone_hears_everyone(*group, 100);
  testing::everyone_hears_everyone(*group, 3000000);
}

TEST(MpiGroup, ProblemsAreHeardByAll) {
  const auto group = MpiGroup::world();
  const int last = group->size() - 1;
  testing::problems_are_heard(
      *group, last,
      "rank " + std::to_string(last) + ": shard " + std::to_string(last) + ": missing");
  agree(*group, std::nullopt);
}

TEST(MpiGroup, TheOddRankIsNamedOnEveryRank) {
  const auto group = MpiGroup::world();
  if (group->size() == 1) GTEST_SKIP() << "needs two ranks";
  const std::string seed = group->rank() == 1 ? "2" : "1";
  EXPECT_THAT(
      [&] {
        handshake(*group, {{"seed", seed}});
      },
      ThrowsMessage<CollectiveError>(StartsWith(
          "handshake: rank 1 was started with other settings: seed is 2, want 1 as on ")));
}

TEST(MpiGroup, RowsOfOneTypeCountAsRows) {
  const auto group = MpiGroup::world();
  const MPI_Datatype type = group->row_type(12);
  int bytes = 0;
  MPI_Type_size(type, &bytes);
  EXPECT_EQ(bytes, 12);
  EXPECT_EQ(group->row_type(12), type);
  EXPECT_NE(group->row_type(16), type);
}

TEST(MpiGroup, AMessageOfAnotherSizeIsRefusedByName) {
  const auto group = MpiGroup::world();
  const int next = (group->rank() + 1) % group->size();
  const int previous = (group->rank() + group->size() - 1) % group->size();
  const std::string who = "receive: rank " + std::to_string(previous) + " sent ";
  for (const std::int64_t rows : {2, 4}) {
    Pending sent = group->send(next, kCollectives, Buffer(64), {.row_bytes = 8, .rows = rows});
    Pending got = group->receive(previous, kCollectives, Buffer(), {.row_bytes = 8, .rows = 3});
    EXPECT_THAT([&] { group->wait(got); }, ThrowsMessage<ProtocolError>(StartsWith(who)));
    group->wait(sent);
  }
}

TEST(MpiGroup, ARankThatSleepsEndsTheOthersAtTheDeadlineByName) {
  constexpr int kSleeper = 1;
  const auto group = MpiGroup::world(milliseconds(300));
  if (group->size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto exchange = make_exchange(*group, "p2p");
  group->deadline().at({.step = 17, .layer = 0, .phase = "combine"});
  const auto ranks = static_cast<std::size_t>(group->size());
  Offer offer;
  offer.row_bytes = 4;
  offer.row_offsets.resize(ranks + 1);
  offer.note_offsets.resize(ranks + 1);
  offer.results.resize(ranks);
  if (group->rank() == kSleeper) {
    std::this_thread::sleep_for(milliseconds(900));
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(
      [&] { static_cast<void>(exchange->dispatch(offer)); },
      ThrowsMessage<DeadlineError>("0.3 s in combine, step 17, layer 0, waiting for rank 1"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(2000));
}

TEST(MpiGroup, ACollectiveInFlightEndsAtTheDeadlineToo) {
#if defined(__SANITIZE_ADDRESS__)
  const __lsan::ScopedDisabler given_up;  // what MPI may still write to is not freed, on purpose
#endif
  const auto group = MpiGroup::world(milliseconds(300));
  if (group->size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto exchange = make_exchange(*group, "alltoallv");
  const auto ranks = static_cast<std::size_t>(group->size());
  Offer offer;
  offer.row_bytes = 4;
  offer.row_offsets.resize(ranks + 1);
  offer.note_offsets.resize(ranks + 1);
  offer.results.resize(ranks);
  if (group->rank() == 1) {
    std::this_thread::sleep_for(milliseconds(900));
    return;
  }
  EXPECT_THAT([&] { static_cast<void>(exchange->dispatch(offer)); },
              ThrowsMessage<DeadlineError>(HasSubstr("0.3 s in start, waiting for ")));
}

/// One result from rank 1 to every rank, and no rows.
Offer one_result_of_rank_1(int ranks) {
  const auto size = static_cast<std::size_t>(ranks);
  Offer offer;
  offer.row_bytes = 4;
  offer.row_offsets.resize(size + 1);
  offer.note_offsets.resize(size + 1);
  offer.results.resize(size);
  offer.results[1] = 1;
  return offer;
}

TEST(MpiGroup, ARankThatStopsBetweenNodesIsNamedByAllWhoWaitForIt) {
#if defined(__SANITIZE_ADDRESS__)
  const __lsan::ScopedDisabler given_up;
#endif
  for (const bool before_dispatch : {true, false}) {
    const auto group = MpiGroup::world(milliseconds(300));
    if (group->size() == 1) GTEST_SKIP() << "needs two ranks";
    group->play_nodes(1);
    const auto exchange = make_exchange(*group, "two-level");
    const Offer offer = one_result_of_rank_1(group->size());
    const char* const phase = before_dispatch ? "dispatch" : "combine";
    group->deadline().at({.step = 17, .layer = 0, .phase = phase});
    if (!before_dispatch) static_cast<void>(exchange->dispatch(offer));
    if (group->rank() == 1) {
      std::this_thread::sleep_for(milliseconds(900));
      continue;
    }
    const auto next_calls = [&] {
      if (before_dispatch) return static_cast<void>(exchange->dispatch(offer));
      static_cast<void>(exchange->open_returns(4));
      static_cast<void>(exchange->collect());
    };
    EXPECT_THAT(next_calls, ThrowsMessage<DeadlineError>("0.3 s in " + std::string(phase) +
                                                         ", step 17, layer 0, waiting for rank 1"));
    std::this_thread::sleep_for(milliseconds(600));  // to begin the next case together
  }
}

TEST(MpiGroup, ARankThatStopsIsNamedByItsMateAndByWhoTakesItsRowsIn) {
#if defined(__SANITIZE_ADDRESS__)
  const __lsan::ScopedDisabler given_up;
#endif
  const auto group = MpiGroup::world(milliseconds(300));
  if (group->size() != 4) GTEST_SKIP() << "needs two nodes of two ranks";
  group->play_nodes(2);
  const auto exchange = make_exchange(*group, "two-level");
  const Offer offer = one_result_of_rank_1(group->size());
  if (group->rank() == 1) {
    std::this_thread::sleep_for(milliseconds(900));
    return;
  }
  // Rank 2 only knows that its mate, rank 3, has not heard all that it was to hear.
  EXPECT_THAT([&] { static_cast<void>(exchange->dispatch(offer)); },
              ThrowsMessage<DeadlineError>(HasSubstr(group->rank() == 2 ? "rank 3" : "rank 1")));
}
}  // namespace
}  // namespace switchyard::comm
