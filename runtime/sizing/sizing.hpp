// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a model asks of a cluster, by arithmetic alone: memory a rank, rows and bytes between ranks
/// and nodes, floating-point operations. Nothing is loaded and no rank talks.
#include <cstdint>
#include <optional>
#include <vector>

#include "experts/dtype.hpp"
#include "runtime/model/model.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

struct SizingRequest {
  int ranks = 1;
  int nodes = 1;  ///< ranks lie on them in equal, consecutive parts; the first ones hold one more
  experts::DType stored = experts::DType::kFloat32;  ///< of experts and what is always on
  std::int64_t tokens = 0;                           ///< of a rank in a step
  std::int64_t sequences = 1;                        ///< whose home is a rank
  std::int64_t context = 0;                          ///< tokens of each that are remembered
};

/// Bytes of the fullest rank.
struct MemoryNeed {
  std::int64_t experts = 0;    ///< routed ones, all layers, packed
  std::int64_t always_on = 0;  ///< shared experts and the dense branch of MoE layers, packed
  std::int64_t dense = 0;      ///< everything else of the model, float32, whole on every rank
  std::int64_t buffers = 0;    ///< rows of one layer at home, and those expected to arrive
  std::int64_t cache = 0;      ///< keys and values, latents, states; float32
  [[nodiscard]] std::int64_t total() const { return experts + always_on + dense + buffers + cache; }
};

/// Rows of `hidden` float32 that the busiest rank sends to others in one MoE layer of a step, if
/// the router has no favourites. Expected values.
struct TrafficNeed {
  double logical_rows = 0;   ///< one for every (token, expert) pair; as many results come back
  double rows_a_rank = 0;    ///< one for every token and rank that it has an expert on
  double rows_a_node = 0;    ///< to other nodes, one for every token and node (two-level)
  double crossing_rows = 0;  ///< of rows_a_rank, those to other nodes
  double row_bytes = 0;
};

/// Floating-point operations of one rank in a step, two to a multiply-add.
struct FlopsNeed {
  double experts = 0;    ///< routed ones, spread evenly over ranks
  double rest = 0;       ///< other products with weights, head included
  double attention = 0;  ///< products of queries, keys and values, at the full context
};

struct Sizing {
  int ranks = 1;
  int nodes = 1;
  int idle_ranks = 0;
  MemoryNeed memory;
  TrafficNeed traffic;
  FlopsNeed flops;
};

/// @throws std::invalid_argument  ranks or nodes below 1, more nodes than ranks
[[nodiscard]] Sizing size_up(const Model& model, const SizingRequest& request);

/// The fewest ranks, on one node, whose fullest needs no more than that; none: what every rank
/// holds alone is more already.
[[nodiscard]] std::optional<int> fewest_ranks(const Model& model, SizingRequest request,
                                              std::int64_t bytes_a_rank);

/// One model with another number of experts.
struct ExpertsPoint {
  std::int64_t experts = 0;
  ParameterCount parameters;
};

/// Total and active parameters over the number of routed experts: powers of two times the model's
/// own, as far as its other fields allow, from top_k to four times as many.
[[nodiscard]] std::vector<ExpertsPoint> over_experts(const Model& model);
}  // namespace switchyard::runtime
