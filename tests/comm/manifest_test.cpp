// SPDX-License-Identifier: Apache-2.0
/// @file
/// What a rank tells a node about its rows, word by word, and what is refused of it.
#include "comm/exchange/manifest.hpp"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <vector>

#include "comm/base/error.hpp"

namespace switchyard::comm {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Rank 0 of four to the node of ranks 2 and 3, two stages: rank 2 wants rows 5 and 1, rank 3 rows
/// 1 and 7; row 1 is needed in the first stage, and by both.
Offer offer_of_rank_0() {
  Offer offer;
  offer.row_bytes = 4;
  offer.row_offsets = {0, 0, 0, 2, 4};
  offer.rows = {5, 1, 1, 7};
  offer.note_offsets = {0, 0, 0, 3, 3};
  offer.notes = {std::byte{'a'}, std::byte{'b'}, std::byte{'c'}};
  offer.results = {0, 0, 3, 2};
  offer.stage_rows = {0, 0, 0, 0, 1, 2, 1, 2};
  offer.stage_results = {0, 0, 0, 0, 2, 3, 1, 2};
  return offer;
}

std::vector<std::int32_t> words_of(const NodeLoad& load) {
  std::vector<std::int32_t> words(load.manifest.size() / 4);
  std::memcpy(words.data(), load.manifest.data(), load.manifest.size());
  return words;
}

NodeLoad packed() {
  NodeLoad load;
  std::vector<std::int32_t> numbers;
  load.pack(offer_of_rank_0(), 2, std::vector<int>{2, 3}, numbers);
  return load;
}

Manifest read(const std::vector<std::int32_t>& words, std::int64_t rows, std::int64_t results) {
  Manifest manifest;
  read_manifest(std::as_bytes(std::span(words)), 0, 2, std::vector<int>{2, 3}, rows, results,
                manifest);
  return manifest;
}

TEST(Manifest, ARowThatTwoRanksWantIsInTheLoadOnce) {
  const NodeLoad load = packed();
  EXPECT_THAT(load.rows, ElementsAre(5, 1, 7));
  EXPECT_THAT(load.stage_rows, ElementsAre(2, 3));
  EXPECT_EQ(load.results, 5);
  const std::int32_t abc = 'a' | 'b' << 8 | 'c' << 16;
  EXPECT_THAT(words_of(load), ElementsAre(2, 3,           // stages
                                          2, 3, 3, 2, 3,  // rank 2: rows, results, note, stages
                                          2, 2, 0, 1, 2,  // rank 3
                                          0, 1, abc,      // rank 2: list, note
                                          1, 2));         // rank 3: list
}

TEST(Manifest, WhatWasPackedIsRead) {
  const auto words = words_of(packed());
  const Manifest manifest = read(words, 3, 5);
  ASSERT_EQ(manifest.shares.size(), 2U);
  EXPECT_EQ(manifest.stage_rows[0], 2);
  EXPECT_EQ(manifest.shares[0].note_bytes, 3);
  EXPECT_EQ(std::memcmp(manifest.shares[0].note, "abc", 3), 0);
  EXPECT_EQ(manifest.shares[1].rows, 2);
  EXPECT_EQ(manifest.shares[1].list[1], 2);
  EXPECT_EQ(manifest.shares[1].stage_results[0], 1);
}

TEST(Manifest, WhatCannotBeIsRefusedByName) {
  const auto refused = [](std::size_t word, std::int32_t value, const char* words_of_error) {
    auto words = words_of(packed());
    words[word] = value;
    EXPECT_THAT([&] { static_cast<void>(read(words, 3, 5)); },
                ThrowsMessage<ProtocolError>(HasSubstr(words_of_error)));
  };
  refused(0, 4, "manifest from rank 0: stage 0 ends at 4 of 3");
  refused(1, 2, "stage 1 ends at 2 of 3");
  refused(2, -1, "a list of rows of -1 words");
  refused(2, 1 << 30, "a list of rows of 1073741824 words");
  refused(3, -3, "results are -3");
  refused(4, -1, "note_bytes are -1");
  refused(6, 2, "stage 1 ends at 2 of 3");
  refused(12, 3, "row 3 of rank 2, want 0 to 2");
  refused(12, -1, "row -1 of rank 2");
  EXPECT_THAT([] { static_cast<void>(read(words_of(packed()), 3, 6)); },
              ThrowsMessage<ProtocolError>(HasSubstr("results are 5, want 6")));
}

TEST(Manifest, NoPartOfAManifestIsOne) {
  const auto words = words_of(packed());
  for (std::size_t n = 0; n < words.size(); ++n) {
    const std::vector<std::int32_t> part(words.begin(),
                                         words.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_THROW(static_cast<void>(read(part, 3, 5)), ProtocolError) << n << " words";
  }
}
}  // namespace
}  // namespace switchyard::comm
