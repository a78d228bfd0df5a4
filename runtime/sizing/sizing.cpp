// SPDX-License-Identifier: Apache-2.0
#include "runtime/sizing/sizing.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/ffn.hpp"
#include "runtime/sizing/cache.hpp"
#include "runtime/sizing/hits.hpp"

namespace switchyard::runtime {
namespace {
constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));

std::int64_t packed(const std::optional<experts::ExpertSpec>& spec, experts::DType stored) {
  return spec ? experts::PackedExpert::packed_bytes(*spec, stored) : 0;
}

/// First rank of every node, and the end.
std::vector<int> node_bounds(int ranks, int nodes) {
  std::vector<int> first{0};
  for (int node = 0; node < nodes; ++node) {
    first.push_back(first.back() + ranks / nodes + (node < ranks % nodes ? 1 : 0));
  }
  return first;
}

TrafficNeed traffic_of(const UniformRouter& router, const Placement& placement,
                       const SizingRequest& request, std::int64_t hidden) {
  const std::vector<int> bounds = node_bounds(request.ranks, request.nodes);
  std::vector<double> rank_hits;
  std::vector<double> node_hits;
  double all_ranks = 0;
  double all_nodes = 0;
  for (int node = 0; node < request.nodes; ++node) {
    std::vector<std::int32_t> together;
    for (int rank = bounds[static_cast<std::size_t>(node)];
         rank < bounds[static_cast<std::size_t>(node) + 1]; ++rank) {
      const auto own = placement.experts_of(rank);
      rank_hits.push_back(own.empty() ? 0 : router.hits(own));
      all_ranks += rank_hits.back();
      together.insert(together.end(), own.begin(), own.end());
    }
    node_hits.push_back(together.empty() ? 0 : router.hits(together));
    all_nodes += node_hits.back();
  }
  // The busiest sender is where fewest of its own tokens' experts are.
  TrafficNeed most;
  const auto tokens = static_cast<double>(request.tokens);
  for (int node = 0; node < request.nodes; ++node) {
    const auto n = static_cast<std::size_t>(node);
    double on_node = 0;
    for (int rank = bounds[n]; rank < bounds[n + 1]; ++rank) {
      on_node += rank_hits[static_cast<std::size_t>(rank)];
    }
    for (int rank = bounds[n]; rank < bounds[n + 1]; ++rank) {
      const auto own = static_cast<std::int64_t>(placement.experts_of(rank).size());
      const double away = static_cast<double>(router.top_k()) - router.slots(own);
      most.logical_rows = std::max(most.logical_rows, tokens * away);
      most.rows_a_rank = std::max(most.rows_a_rank,
                                  tokens * (all_ranks - rank_hits[static_cast<std::size_t>(rank)]));
    }
    most.rows_a_node = std::max(most.rows_a_node, tokens * (all_nodes - node_hits[n]));
    most.crossing_rows = std::max(most.crossing_rows, tokens * (all_ranks - on_node));
  }
  most.row_bytes = static_cast<double>(hidden * kFloat);
  return most;
}

/// What sums over a model's tensors, taken once for any number of ranks.
struct Whole {
  explicit Whole(const Model& of)
      : model(of), block(of.block()), parameters(of.parameters()), layers(of.num_moe_layers()) {}
  const Model& model;
  experts::BlockSpec block;
  ParameterCount parameters;
  std::int64_t layers;
};

MemoryNeed memory_of(const Whole& whole, const UniformRouter& router, const Placement& placement,
                     const SizingRequest& request) {
  const experts::BlockSpec& block = whole.block;
  MemoryNeed memory;
  const auto hosted = static_cast<std::int64_t>(placement.experts_of(0).size());
  memory.experts = whole.layers * hosted * packed(block.expert, request.stored);
  memory.always_on =
      whole.layers * (packed(block.shared, request.stored) + packed(block.dense, request.stored));
  std::int64_t in_blocks = block.router.experts * elements_of(block.expert);
  if (block.shared) in_blocks += elements_of(*block.shared);
  if (block.dense) in_blocks += elements_of(*block.dense);
  memory.dense = (whole.parameters.total - whole.layers * in_blocks) * kFloat;
  memory.cache = request.sequences * cache_elements(whole.model, request.context) * kFloat;
  // Home keeps rows, outputs and the results of all slots; as host it gets its share of the rows.
  const double arriving = static_cast<double>(request.ranks - 1) *
                          static_cast<double>(request.tokens) *
                          router.hits(placement.experts_of(0));
  const auto at_home = static_cast<double>(request.tokens * (2 + block.router.top_k));
  memory.buffers =
      static_cast<std::int64_t>(std::ceil(arriving + at_home)) * block.router.hidden * kFloat;
  return memory;
}

FlopsNeed flops_of(const Whole& whole, const SizingRequest& request) {
  const auto tokens = static_cast<double>(request.tokens);
  const experts::RouterSpec& router = whole.block.router;
  const double routed =
      2.0 * static_cast<double>(whole.layers * std::min(router.top_k, router.experts) *
                                elements_of(whole.block.expert));
  const auto active = static_cast<double>(whole.parameters.active_less_input);
  return {.experts = tokens * routed,
          .rest = tokens * (2.0 * active - routed),
          .attention = tokens * attention_flops(whole.model, request.context)};
}
}  // namespace

Sizing size_up(const Model& model, const SizingRequest& request) {
  if (request.ranks < 1) {
    throw std::invalid_argument("plan: ranks: got " + std::to_string(request.ranks) +
                                ", want at least 1");
  }
  if (request.nodes < 1 || request.nodes > request.ranks) {
    throw std::invalid_argument("plan: nodes: got " + std::to_string(request.nodes) +
                                ", want 1 to " + std::to_string(request.ranks) + ", the ranks");
  }
  const Whole whole(model);
  const UniformRouter router(whole.block.router);
  const Placement placement = Placement::linear(whole.block.router.experts, request.ranks);
  return {.ranks = request.ranks,
          .nodes = request.nodes,
          .idle_ranks = placement.idle_ranks(),
          .memory = memory_of(whole, router, placement, request),
          .traffic = traffic_of(router, placement, request, whole.block.router.hidden),
          .flops = flops_of(whole, request)};
}

std::optional<int> fewest_ranks(const Model& model, SizingRequest request,
                                std::int64_t bytes_a_rank) {
  const Whole whole(model);
  const std::int64_t num_experts = whole.block.router.experts;
  const UniformRouter router(whole.block.router);
  // Beyond one expert a rank nothing gets smaller any more.
  for (request.ranks = 1; request.ranks <= std::max<std::int64_t>(num_experts, 1);
       ++request.ranks) {
    const Placement placement = Placement::linear(num_experts, request.ranks);
    if (memory_of(whole, router, placement, request).total() <= bytes_a_rank) return request.ranks;
  }
  return std::nullopt;
}

std::vector<ExpertsPoint> over_experts(const Model& model) {
  std::vector<ExpertsPoint> points;
  const std::int64_t own = model.block().router.experts;
  std::int64_t least = own;
  while (least % 2 == 0) least /= 2;
  for (std::int64_t experts = least; experts <= 4 * own; experts *= 2) {
    Model other = model;
    try {
      other.set("routed_experts=" + std::to_string(experts));
      other.validate();
    } catch (const std::invalid_argument&) {
      continue;  // fewer than its groups or its top-k allow
    }
    points.push_back({experts, other.parameters()});
  }
  return points;
}
}  // namespace switchyard::runtime
