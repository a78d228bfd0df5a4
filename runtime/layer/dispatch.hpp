// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The middle of a token's way: rows out to their experts, experts over rows, results home. These
/// three take the same plan and the same exchange, one after the other.
#include <cstdint>
#include <vector>

#include "comm/exchange.hpp"
#include "experts/kernels/aligned.hpp"
#include "experts/router/routing.hpp"
#include "experts/tensor.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/layer/workers.hpp"

namespace switchyard::runtime {

/// The rows that came to this rank, by local expert and then by global token. Says where they are,
/// not that they were copied: in a receive buffer, in a neighbour's memory, or in this rank's own.
struct Arrivals {
  std::vector<std::int64_t> offsets;  ///< [local experts + 1], into the three below
  std::vector<const float*> rows;     ///< address of each row, [hidden]
  std::vector<float> gates;           ///< weight on the input of each; empty if it is on the output
  std::vector<float*> results;        ///< where the expert's result of each row belongs, [hidden]
  bool more = false;                  ///< some rank has another chunk to send

  [[nodiscard]] std::int64_t size() const { return offsets.back(); }
};

/// Sends the planned rows and says where the arrived ones are, until combine() has returned.
/// @param tokens  [tokens of the chunk, hidden]
/// @param more    this rank has another chunk after this one
/// @throws comm::ProtocolError  somebody sent a row for an expert that does not live here
[[nodiscard]] Arrivals dispatch(comm::Exchange& exchange, DispatchPlan& plan, const Shard& shard,
                                experts::MatrixView<const float> tokens, bool gates, bool more);

/// Runs every local expert over its rows and writes each result where it belongs.
/// @param scratch  [threads], kept between calls
void grouped_ffn(const Shard& shard, const Arrivals& arrivals, Workers& workers,
                 std::vector<experts::AlignedBuffer>& scratch);

/// Takes the results home and adds them up: out[t] = sum over slots, in order, of weight * result.
/// Identity slots give the token's own row; dropped slots nothing.
/// @param routing  of all tokens; the chunk starts at `first`
/// @param tokens   [tokens of the chunk, hidden]
/// @param gates    weights were applied on the input, so they are 1 here
/// @param out      [tokens of the chunk, hidden], overwritten
void combine(comm::Exchange& exchange, const DispatchPlan& plan, const experts::Routing& routing,
             std::int64_t first, experts::MatrixView<const float> tokens, bool gates,
             experts::MatrixView<float> out);
}  // namespace switchyard::runtime
