// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What every kind of group must make of the collectives, one after the other without a pause.
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <span>
#include <string>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::comm::testing {

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

inline std::string text_of(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) text.push_back(static_cast<char>(byte));
  return text;
}

/// Something of another length and content for each rank; empty for every third.
inline std::string speech(int rank, std::size_t longest) {
  if (rank % 3 == 2) return "";
  return std::string(longest / static_cast<std::size_t>(rank + 1),
                     static_cast<char>('a' + rank % 26));
}

inline void everyone_hears_everyone(Group& group, std::size_t longest) {
  const int size = group.size();
  const std::string mine = speech(group.rank(), longest);
  const auto all = allgather(group, bytes_of(mine));
  const auto root = gather(group, bytes_of(mine));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(size));
  ASSERT_EQ(root.size(), static_cast<std::size_t>(size));
  for (int r = 0; r < size; ++r) {
    const auto i = static_cast<std::size_t>(r);
    EXPECT_TRUE(text_of(all[i]) == speech(r, longest)) << "of rank " << r;
    EXPECT_TRUE(text_of(root[i]) == (group.rank() == 0 ? speech(r, longest) : ""));
  }
  const std::string words = group.rank() == 0 ? "from the root" : "not heard";
  EXPECT_EQ(text_of(broadcast(group, bytes_of(words))), "from the root");
  EXPECT_TRUE(broadcast(group, {}).empty());
  barrier(group);
  std::vector<std::string> streamed(static_cast<std::size_t>(size));
  stream_to_root(group, bytes_of(mine), [&](int r, std::span<const std::byte> piece) {
    streamed[static_cast<std::size_t>(r)] += text_of({piece.begin(), piece.end()});
  });
  for (int r = 0; r < size; ++r) {
    EXPECT_TRUE(streamed[static_cast<std::size_t>(r)] ==
                (group.rank() == 0 ? speech(r, longest) : ""));
  }
  const std::vector<double> values(static_cast<std::size_t>(group.rank()), group.rank() + 0.5);
  const auto lists = allgather_values(group, std::span<const double>(values));
  for (int r = 0; r < size; ++r) {
    EXPECT_EQ(lists[static_cast<std::size_t>(r)],
              std::vector<double>(static_cast<std::size_t>(r), r + 0.5));
  }
}

/// Ranks from `first` on have a problem; all must hear of it.
inline void problems_are_heard(Group& group, int first, const std::string& want) {
  std::optional<Problem> mine;
  if (group.rank() >= first) {
    mine = Problem{.status = 74, .message = "shard " + std::to_string(group.rank()) + ": missing"};
  }
  try {
    agree(group, mine);
    FAIL() << "nobody heard of it";
  } catch (const CollectiveError& error) {
    EXPECT_EQ(error.what(), want);
    EXPECT_EQ(error.rank(), first);
    EXPECT_EQ(error.status(), 74);
  }
}
}  // namespace switchyard::comm::testing
