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
/// error bound in the unit roundoff u = 2^-24, worst case over orders of addition, with or without
/// fused multiply-adds, activations to 4 ulp. It grows like hidden * width: 1e-4 of a typical
/// output at 64 x 64, 1.3e-3 at 256 x 256, 2e-2 at 1024 x 1024.
struct Bounded {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<double> values;  ///< [rows, cols]
  std::vector<double> bounds;  ///< [rows, cols], absolute
};

/// Router logits of every token, before transform and scoring.
/// @param tokens  [tokens, hidden]
/// @throws std::invalid_argument  "reference: router weight is [5, 7], want [8, 7]"
[[nodiscard]] Bounded logits(const RouterSpec& spec, const RouterTensors& tensors,
                             MatrixView<const float> tokens);

/// Chooses and weighs from given logits: every step of the spec, batch rules and capacity included.
/// Scores are rounded to float32 before anything is chosen by them, so ties are the fast path's.
/// @param logits  [tokens, all experts] of the whole batch; -inf hides an expert from a token: it
///                counts in no mean, softmax or group, is never chosen, and scores 0 (-inf
///                unscored)
/// @return        scores of sparsemixer are a softmax, whatever the spec's scoring
/// @throws std::invalid_argument  "reference: token 17: logit of expert 3 is nan, want ...", a spec
///                that does not fit, or a composition without a meaning (sparsemixer with a
///                selection bias; expert choice with a group filter, identity experts or a capacity
///                rule)
[[nodiscard]] Routing route(const RouterSpec& spec, const std::vector<float>& selection_bias,
                            const Matrix& logits);

/// What the block gives for a routing, its weights taken as exact: the slots' sum, plus shared,
/// output bias and dense. A sequential dense network reads the norm of the input plus all that
/// precedes it.
/// @param tokens  [tokens, hidden]; token t of `routing`
/// @throws std::invalid_argument  "reference: expert 3 up is [5, 7], want [8, 7]", a wrong routing
[[nodiscard]] Bounded block(const BlockSpec& spec, WeightSource& weights,
                            MatrixView<const float> tokens, const Routing& routing);
}  // namespace switchyard::experts::reference
