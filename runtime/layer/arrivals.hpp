// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The rows that came to a rank, by local expert and then by global token. Says where they are, not
/// that they were copied: in a receive buffer, in a neighbour's memory, or in this rank's own.
#include <cstdint>
#include <span>

namespace switchyard::runtime {

/// Lists lie in the work board's memory, where mates can read them; good until the next round.
struct Arrivals {
  std::span<std::int64_t> offsets;  ///< [local experts + 1], into the three below
  std::span<const float*> rows;     ///< address of each row, [hidden]
  std::span<float> gates;           ///< weight on the input of each; empty if it is on the output
  std::span<float*> results;        ///< where the expert's result of each row belongs, [hidden]
  bool more = false;                ///< some rank has another chunk to send

  [[nodiscard]] std::int64_t size() const { return offsets.back(); }
};
}  // namespace switchyard::runtime
