// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Ways to run one expert over a batch, for tests that compare their bits.
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include "experts/ffn.hpp"
#include "tests/experts/random_expert.hpp"

namespace switchyard::experts {

inline std::vector<float> output_of(const PackedExpert& expert, const Batch& rows,
                                    const std::vector<float>& gates = {}) {
  Batch batch(static_cast<std::int64_t>(rows.rows.size()), rows.hidden, rows.seed);
  AlignedBuffer scratch;
  expert.run(batch.rows, gates, batch.results, scratch);
  EXPECT_FALSE(batch.strayed());
  return batch.output;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// The whole expert from uneven parts in uneven order, its middle handed over as bytes.
inline std::vector<float> run_in_parts(const PackedExpert& expert, const Batch& rows,
                                       const std::vector<float>& gates, std::int64_t step) {
  Batch batch(static_cast<std::int64_t>(rows.rows.size()), rows.hidden, rows.seed);
  const auto num_rows = static_cast<std::int64_t>(batch.rows.size());
  AlignedBuffer scratch;
  EXPECT_EQ(expert.middle_bytes(num_rows) % 64, 0);
  AlignedBuffer middle(static_cast<std::size_t>(expert.middle_bytes(num_rows)));
  for (std::int64_t end = expert.up_parts(); end > 0; end -= step) {
    expert.run_up(batch.rows, gates, std::max<std::int64_t>(0, end - step), end,
                  middle.as<std::byte>(), scratch);
  }
  AlignedBuffer elsewhere(middle.size());
  std::memcpy(elsewhere.as<std::byte>(), middle.as<std::byte>(), middle.size());
  for (std::int64_t first = 0; first < expert.down_parts(); first += step) {
    expert.run_down(num_rows, elsewhere.as<std::byte>(), first,
                    std::min(first + step, expert.down_parts()), batch.results, scratch);
  }
  EXPECT_FALSE(batch.strayed());
  return batch.output;
}
}  // namespace switchyard::experts
