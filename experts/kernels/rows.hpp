// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What is done to whole rows: the sum of a token's results, and rows times a number. The same bits
/// whatever the instructions, because every product and every sum is rounded by itself and columns
/// do not meet.
#include <cstdint>

#include "experts/kernels/isa.hpp"

namespace switchyard::experts::rows {

/// Plain functions of one instruction set. Nothing need be aligned.
struct Kernels {
  /// out[c] = (((0 + weights[0] rows[0][c]) + weights[1] rows[1][c]) + ...), for all columns.
  /// @param rows  [count], addresses of [cols] floats; out is none of them
  void (*sum)(const float* const* rows, const float* weights, std::int64_t count, std::int64_t cols,
              float* out) = nullptr;
  /// to[c] = factor * from[c]; one may be the other.
  void (*scale)(const float* from, float factor, std::int64_t cols, float* to) = nullptr;
};

[[nodiscard]] Kernels avx512_kernels();
[[nodiscard]] Kernels avx2_kernels();
[[nodiscard]] Kernels portable_kernels();
/// @param isa  one that this processor has: from best_isa or isa_from
[[nodiscard]] Kernels kernels_of(Isa isa);
}  // namespace switchyard::experts::rows
