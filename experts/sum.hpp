// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The sum that ends a token's way: what its experts returned, times their weights.
#include <span>

#include "experts/kernels/isa.hpp"

namespace switchyard::experts {

/// out = (((0 + w0 * r0) + w1 * r1) + ...), each operation rounded once: the same bits on every
/// instruction set.
/// @param rows     addresses of as many floats as `out` has; may lie anywhere but in `out`
/// @param weights  one a row
void weighted_sum(Isa isa, std::span<const float* const> rows, std::span<const float> weights,
                  std::span<float> out);
}  // namespace switchyard::experts
