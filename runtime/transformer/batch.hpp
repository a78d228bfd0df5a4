// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The tokens of one forward pass on one rank. Sequences of any length lie behind each other
/// without padding; each has its home on one rank, and the MoE layers span all.
#include <cstdint>
#include <vector>

namespace switchyard::runtime {

/// New tokens of one sequence, in order. What came before them is in the sequence's states.
struct Segment {
  std::int64_t sequence = 0;  ///< whose states, see States
  std::int64_t first = 0;     ///< position of the first new token, from 0
  std::int64_t count = 0;     ///< new tokens
};

struct Batch {
  std::vector<std::int64_t> ids;  ///< [rows]
  std::vector<Segment> segments;  ///< behind each other; their counts add up to rows
  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(ids.size()); }
};
}  // namespace switchyard::runtime
