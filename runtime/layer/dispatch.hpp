// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The middle of a token's way: rows out to their experts (dispatch), experts over rows
/// (grouped_ffn.hpp), results home (combine), by one plan and one exchange.
#include <cstdint>

#include "comm/exchange/exchange.hpp"
#include "experts/router/routing.hpp"
#include "experts/tensor.hpp"
#include "runtime/layer/engine.hpp"
#include "runtime/layer/local_experts.hpp"

namespace switchyard::runtime {

/// Sends the planned rows and says where the arrived ones are until combine() has returned. Rows of
/// later stages may still be on their way.
/// @param tokens  [tokens of the chunk, hidden]
/// @param presum  results stay here, to be added up (presum.hpp)
/// @param more    this rank has another chunk after this one
/// @throws comm::ProtocolError  somebody sent a row for an expert that does not live here
[[nodiscard]] Arrivals dispatch(Engine& engine, const LocalExperts& local,
                                experts::MatrixView<const float> tokens, bool gates, bool presum,
                                bool more);

/// Cuts the work on what came into tasks, and lets the node see them.
void publish(Engine& engine, const Shard& shard, const Arrivals& arrivals);

/// Takes the results home and adds them up: out[t] = sum over slots, in order, of weight * result.
/// Identity slots give the token's own row; dropped slots nothing.
/// @param routing  of all tokens; the chunk starts at `first`
/// @param tokens   [tokens of the chunk, hidden]
/// @param gates    weights were applied on the input, so they are 1 here
/// @param isa      instructions of the sum; changes no bit
/// @param out      [tokens of the chunk, hidden], overwritten
void combine(Engine& engine, const experts::Routing& routing, std::int64_t first,
             experts::MatrixView<const float> tokens, bool gates, experts::Isa isa,
             experts::MatrixView<float> out);
}  // namespace switchyard::runtime
