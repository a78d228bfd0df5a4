// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where the rows of an expert lie once they are packed for the kernels of dot.hpp: its inputs, and
/// its middle.
#include <cstdint>

#include "experts/kernels/dot.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts::dot {

/// Rows of a tile; kernels without tiles get room for a multiple of it too.
inline constexpr std::int64_t kTileRows = 16;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Packed rows of some length: where they lie and how much room they take.
struct Packing {
  Layout layout;
  std::int64_t bytes = 0;
  /// Where byte x of a row is.
  [[nodiscard]] std::int64_t at(std::int64_t row, std::int64_t x) const {
    if (layout.tile_bytes == 0) return row * layout.row_stride + x;
    return row / kTileRows * layout.block_stride + x / 64 * layout.tile_bytes +
           row % kTileRows * 64 + x % 64;
  }
};
[[nodiscard]] Packing packing_of(std::int64_t num_rows, std::int64_t row_bytes, bool tiles);

/// Bytes of one value of the middle: bfloat16, or float32 where the second product has scales of
/// its own to find.
[[nodiscard]] std::int64_t middle_element(const Kernels& dots);
[[nodiscard]] Packing middle_packing(const ExpertSpec& spec, const Kernels& dots,
                                     std::int64_t num_rows);
}  // namespace switchyard::experts::dot
