// SPDX-License-Identifier: Apache-2.0
#include "comm/base/cache_line.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <vector>

namespace switchyard::comm {
namespace {
constexpr std::size_t kMost = 400;
constexpr std::byte kUntouched{0xee};

TEST(CopyPastCaches, WritesExactlyItsBytesWhereverTheyBegin) {
  std::vector<std::byte> from(kMost);
  for (std::size_t i = 0; i < kMost; ++i) from[i] = static_cast<std::byte>(i % 199);
  for (std::size_t shift = 0; shift < 70; ++shift) {
    for (std::size_t bytes = 0; bytes + 128 <= kMost; bytes += 1 + bytes / 7) {
      std::vector<std::byte> to(kMost, kUntouched);
      copy_past_caches(to.data() + shift, from.data() + shift / 3,
                       static_cast<std::int64_t>(bytes));
      std::vector<std::byte> want(kMost, kUntouched);
      std::copy_n(from.data() + shift / 3, bytes, want.data() + shift);
      ASSERT_EQ(to, want) << bytes << " bytes, " << shift << " after a line's beginning";
    }
  }
}

TEST(Distances, NobodyIsFarBeforeALookAndALineOfOnesOwnIsNotFarFromHere) {
  Distances distances(3);
  EXPECT_FALSE(distances.any_far());
  // Whatever a first look took (an interrupt, a page that had to come): it is forgotten.
  const std::int64_t word = 1;
  bool near = false;
  for (int i = 0; i < 1000 && !near; ++i) {
    distances.look(1, word);
    near = !distances.far(1);
  }
  EXPECT_TRUE(near);
  EXPECT_FALSE(distances.far(0));
}
}  // namespace
}  // namespace switchyard::comm
