// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The whole block again in plain float64 loops, slow and obvious. The oracle that the fast path is
/// held against: it shares the specs and tensor types with it and no code.
#include <vector>

#include "experts/router/routing.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts::reference {

/// Values and, for each, how far a float32 implementation may honestly be away from it: a running
/// error bound, first order in the unit roundoff u = 2^-24, worst case over orders of addition.
struct Bounded {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> values;  ///< [rows, cols]
  std::vector<double> bounds;  ///< [rows, cols], absolute
};

/// Router logits of every token, before transform and scoring.
/// @param tokens  [tokens, hidden]
[[nodiscard]] Bounded logits(const RouterSpec& spec, const RouterTensors& tensors,
                             MatrixView<const float> tokens);

/// Chooses and weighs from given logits: every step of the spec, batch rules and capacity included.
/// Scores are rounded to float32 before anything is chosen by them, so ties are the fast path's.
/// @param logits  [tokens, all experts] of the whole batch
[[nodiscard]] Routing route(const RouterSpec& spec, const std::vector<float>& selection_bias,
                            const Matrix& logits);

/// What the block gives for a routing: experts, combine, shared, dense, bias.
/// @param tokens  [tokens, hidden]; token t of `routing`
[[nodiscard]] Bounded block(const BlockSpec& spec, WeightSource& weights,
                            MatrixView<const float> tokens, const Routing& routing);
}  // namespace switchyard::experts::reference
