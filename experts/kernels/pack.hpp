// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Copies weights from any released layout into panels of 32 columns (experts/README.md).
#include <cstdint>

#include "experts/weights.hpp"

namespace switchyard::experts {

/// Bytes of the panels of a matrix [outputs, depth] whose panels hold `width` outputs each.
[[nodiscard]] std::int64_t panel_bytes(std::int64_t outputs, std::int64_t depth, std::int64_t width,
                                       DType stored);

/// Panel p, column c is output 32 p + c; columns past the last output are 0.
void pack_whole(const WeightView& weight, DType stored, void* panels);

/// Panel p, column c is output 16 p + c of `first` for c < 16, output 16 p + c - 16 of `second`
/// above. Both have the same shape.
void pack_halves(const WeightView& first, const WeightView& second, DType stored, void* panels);
}  // namespace switchyard::experts
