// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Copies weights from any released layout into panels of 32 columns (experts/README.md). The
/// layout depends on the stored type alone, never on instructions.
#include <cstdint>

#include "experts/weights.hpp"

namespace switchyard::experts {

/// Panels of a matrix with this many outputs, `width` (16 or 32) of them a panel.
[[nodiscard]] constexpr std::int64_t panels_for(std::int64_t outputs, std::int64_t width) {
  return (outputs + width - 1) / width;
}

/// Bytes of one panel over `depth` inputs, and so from one to the next; a multiple of 64.
[[nodiscard]] std::int64_t panel_stride(std::int64_t depth, DType stored);

/// Bytes of the panels of a matrix [outputs, depth] whose panels hold `width` outputs each.
[[nodiscard]] std::int64_t panel_bytes(std::int64_t outputs, std::int64_t depth, std::int64_t width,
                                       DType stored);

/// Whether codes and scales of this matrix can go into panels of the type as they are. Others are
/// widened and rounded to it.
[[nodiscard]] bool fits_panels(const WeightView& weight, DType stored);

/// Panel p, column c is output 32 p + c; columns past the last output are 0.
void pack_whole(const WeightView& weight, DType stored, void* panels);

/// Panel p, column c is output 16 p + c of `first` for c < 16, output 16 p + c - 16 of `second`
/// above. Both have the same shape.
void pack_halves(const WeightView& first, const WeightView& second, DType stored, void* panels);

/// Consecutive outputs of a matrix.
struct Outputs {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// What pack_whole and pack_halves would leave, where they left it before only `changed` changed:
/// writes the panels that these outputs have a part in, and those that share scales with them.
/// @param weight  all of the matrix, of a type without scales
/// @throws std::invalid_argument  "repack: outputs 8 to 24 of int8 weights, want ..."
void repack_whole(const WeightView& weight, Outputs changed, DType stored, void* panels);
void repack_halves(const WeightView& first, const WeightView& second, Outputs changed, DType stored,
                   void* panels);
}  // namespace switchyard::experts
