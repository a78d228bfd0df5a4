// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/dot_packing.hpp"

#include <algorithm>

namespace switchyard::experts::dot {

/// A line more than the rows need keeps them off the same cache sets.
Packing packing_of(std::int64_t num_rows, std::int64_t row_bytes, bool tiles) {
  Packing made;
  const std::int64_t padded = round_up(num_rows, kTileRows);
  const std::int64_t lines = (row_bytes + 63) / 64;
  if (tiles) {
    made.layout.tile_bytes = 64 * std::min(num_rows, kTileRows);
    made.layout.block_stride = lines * made.layout.tile_bytes + 64;
    made.bytes = padded / kTileRows * made.layout.block_stride;
  } else {
    made.layout.row_stride = (lines + 1) * 64;
    made.bytes = padded * made.layout.row_stride;
  }
  return made;
}

std::int64_t middle_element(const Kernels& dots) {
  return dots.element_bytes == 2 ? 2 : 4;
}

Packing middle_packing(const ExpertSpec& spec, const Kernels& dots, std::int64_t num_rows) {
  const bool tiles = dots.tiles && middle_element(dots) == 2;
  return packing_of(num_rows, spec.width * middle_element(dots), tiles);
}
}  // namespace switchyard::experts::dot
