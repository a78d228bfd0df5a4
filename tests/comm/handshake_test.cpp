// SPDX-License-Identifier: Apache-2.0
/// @file
/// Who is the odd one, and is told so by everyone.
#include "comm/wire/handshake.hpp"

#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "comm/wire/vote.hpp"

namespace switchyard::comm {
namespace {
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// What each rank's handshake ends with: "" if all is well.
std::vector<std::string> outcomes(int ranks, std::vector<Field> (*fields)(int rank)) {
  std::vector<std::string> words(static_cast<std::size_t>(ranks));
  run_local(ranks, [&](Group& group) {
    try {
      handshake(group, fields(group.rank()));
    } catch (const CollectiveError& error) {
      EXPECT_EQ(error.status(), 2);
      words[static_cast<std::size_t>(group.rank())] = error.what();
    }
  });
  return words;
}

TEST(Handshake, EqualFieldsPassInAnyOrder) {
  const auto fields = [](int rank) -> std::vector<Field> {
    if (rank == 1) return {{"model", "olmoe"}, {"seed", "1"}};
    return {{"seed", "1"}, {"model", "olmoe"}};
  };
  EXPECT_THAT(outcomes(1, fields), Each(std::string()));
  EXPECT_THAT(outcomes(4, fields), Each(std::string()));
}

TEST(Handshake, TheOddRankIsNamedWithEachOddField) {
  EXPECT_THAT(outcomes(4,
                       [](int rank) -> std::vector<Field> {
                         return {{"program", "x"},
                                 {"seed", rank == 1 ? "2" : "1"},
                                 {"model", rank == 1 ? "dbrx" : "olmoe"}};
                       }),
              Each(std::string("handshake: rank 1 was started with other settings: seed is 2, want "
                               "1 as on 3 ranks, model is dbrx, want olmoe as on 3 ranks")));
}

TEST(Handshake, ATieIsRankZeros) {
  EXPECT_THAT(outcomes(2,
                       [](int rank) -> std::vector<Field> {
                         return {{"seed", rank == 0 ? "1" : "2"}};
                       }),
              Each(std::string("handshake: rank 1 was started with other settings: seed is 2, want "
                               "1 as on 1 rank")));
}

TEST(Handshake, RankZeroCanBeTheOddOne) {
  EXPECT_THAT(outcomes(3,
                       [](int rank) -> std::vector<Field> {
                         return {{"seed", rank == 0 ? "1" : "2"}};
                       }),
              Each(HasSubstr("handshake: rank 0 was started with other settings: seed is 1, want 2 "
                             "as on 2 ranks")));
}

TEST(Handshake, AFieldThatOneRankLacksIsNamed) {
  EXPECT_THAT(
      outcomes(3,
               [](int rank) -> std::vector<Field> {
                 if (rank == 2) return {};
                 return {{"placement", "abc"}};
               }),
      Each(HasSubstr("rank 2 was started with other settings: placement is absent, want abc "
                     "as on 2 ranks")));
}

TEST(Handshake, SeveralOddRanksAreAllNamed) {
  EXPECT_THAT(outcomes(5,
                       [](int rank) -> std::vector<Field> {
                         return {{"seed", rank == 1 ? "7" : rank == 4 ? "8" : "1"}};
                       }),
              Each(HasSubstr("rank 1 was started with other settings: seed is 7, want 1 as on 3 "
                             "ranks; rank 4: seed is 8, want 1 as on 3 ranks")));
}

TEST(Handshake, AFieldGivenTwiceIsTheCallersMistake) {
  const auto group = solo_group();
  EXPECT_THAT(
      [&] {
        handshake(*group, {{"seed", "1"}, {"seed", "1"}});
      },
      ThrowsMessage<std::invalid_argument>("handshake: field seed is given twice"));
}

/// Rank 1 sends these bytes for its handshake; returns what rank 0 says.
std::string answer_to(std::span<const std::byte> bytes) {
  std::string words;
  run_local(3, [&](Group& group) {
    if (group.rank() == 1) {
      static_cast<void>(allgather(group, bytes, kHandshake));
      return;
    }
    try {
      handshake(group, {});
    } catch (const std::runtime_error& error) {
      if (group.rank() == 0) words = error.what();
    }
  });
  return words;
}

TEST(Handshake, AnotherVersionIsRefusedByName) {
  // Field 1 (version), varint: 2. Field 9, which version 1 does not know: "x".
  constexpr std::array kNewer{std::byte{0x08}, std::byte{0x02}, std::byte{0x4A}, std::byte{0x01},
                              std::byte{'x'}};
  EXPECT_EQ(answer_to(kNewer),
            "handshake: rank 1 is another program: handshake version is 2, want 1 as on 2 ranks");
}

TEST(Handshake, BytesThatAreNoMessageAreRefusedByName) {
  constexpr std::array kNoise{std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}};
  EXPECT_EQ(answer_to(kNoise), "handshake: rank 1 sent 3 bytes that are none");
}

TEST(Vote, ManyOddRanksAreCounted) {
  std::vector<std::vector<Field>> ranks(20, {{"seed", "1"}});
  for (std::size_t r = 10; r < 17; ++r) ranks[r] = {{"seed", std::to_string(r)}};
  const auto odd = find_odd(ranks, "differs");
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(odd->rank, 10);
  EXPECT_THAT(odd->words,
              HasSubstr("rank 10 differs: seed is 10, want 1 as on 13 ranks; rank 11: "));
  EXPECT_THAT(odd->words, ::testing::EndsWith("; and 3 other ranks"));
}
}  // namespace
}  // namespace switchyard::comm
