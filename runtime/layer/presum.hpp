// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `--combine presum`: a rank adds up what its experts made of a token before it answers, so that
/// one row a token and rank comes back. Sums then depend on where experts live: law 1 is given up.
#include "experts/router/routing.hpp"
#include "experts/tensor.hpp"
#include "runtime/layer/engine.hpp"

namespace switchyard::runtime {

/// Asks for one result a row instead of one a slot. The plan's entries hold the slots' weights.
void plan_presum(DispatchPlan& plan);

/// Once all experts are done: adds up the partial results of every row that came, in the order of
/// its slots, and writes each sum where its home wants it.
/// @param gates  weights were applied on the input, so they are 1 here
void presum(Engine& engine, bool gates, std::int64_t hidden, experts::Isa isa);

/// Takes the sums home: out[t] = sum over ranks, in order, then over identity slots.
/// @param routing  of all tokens; the chunk starts at `first`
/// @param tokens   [tokens of the chunk, hidden]
/// @param out      [tokens of the chunk, hidden], overwritten
void combine_presummed(Engine& engine, const experts::Routing& routing, std::int64_t first,
                       experts::MatrixView<const float> tokens, std::int64_t num_experts,
                       experts::Isa isa, experts::MatrixView<float> out);
}  // namespace switchyard::runtime
