// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights to int8 with a scale for 128 inputs of an output: the largest magnitude over 127.
#include <cstddef>
#include <cstdint>

#include "experts/weights.hpp"

namespace switchyard::experts {

/// Fills columns [first_column, first_column + count) of an int8 panel (experts/README.md) with
/// outputs from `first_output` on; 0 past the last output and the last input. A group with a NaN or
/// an infinity gets the scale NaN.
void quantise_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                      std::int64_t first_column, std::byte* panel);
}  // namespace switchyard::experts
