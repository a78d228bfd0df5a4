// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/policies/policy.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

#include "runtime/placement/policies/all.hpp"

namespace switchyard::runtime {
namespace {
[[noreturn]] void refuse_place(const std::string& what) {
  throw std::invalid_argument("place: " + what);
}

Placement place_linear(const LayerLoad& load, const MachineShape& shape, const PolicyOptions&) {
  return Placement::linear(static_cast<std::int64_t>(load.rows.size()), shape.ranks);
}

Placement place_round_robin(const LayerLoad& load, const MachineShape& shape,
                            const PolicyOptions&) {
  return Placement::round_robin(static_cast<std::int64_t>(load.rows.size()), shape.ranks);
}

}  // namespace

std::vector<Policy> policies() {
  std::vector<Policy> all;
  const auto add = [&](std::string_view name, std::string_view summary, bool copies, auto place) {
    all.push_back({.name = name, .summary = summary, .copies = copies, .place = place});
  };
  add("linear", "consecutive blocks, whatever the load", false, place_linear);
  add("round-robin", "expert e on rank e mod ranks, whatever the load", false, place_round_robin);
  add("longest-first", "one copy each, the busiest first to the emptiest rank", false,
      pack_longest_first);
  add("eplb", "DeepSeek's balancer: groups to nodes, copies within a node", true,
      eplb_hierarchical);
  add("eplb-global", "the same, blind to nodes", true, eplb_global);
  add("together", "experts that are chosen together on one node, one copy each", false,
      keep_together);
  add("copies", "longest-first, and as few copies of the busiest as help", true, copy_busiest);
  add("shadow", "linear, and the busiest experts on every rank (FasterMoE)", true, shadow_popular);
  add("search", "the best of all others, then moves, swaps and copies", true, search_best);
  return all;
}

Policy policy_from(std::string_view name) {
  std::string names;
  for (const Policy& policy : policies()) {
    if (policy.name == name) return policy;
    names += (names.empty() ? "" : ", ") + std::string(policy.name);
  }
  throw std::invalid_argument("--policy: got '" + std::string(name) + "', want one of " + names);
}

void check(const LayerLoad& load, const MachineShape& shape) {
  const auto experts = static_cast<std::int64_t>(load.rows.size());
  if (experts < 1) refuse_place("got 0 experts, want at least 1");
  if (shape.ranks < 1) {
    refuse_place("got " + std::to_string(shape.ranks) + " ranks, want at least 1");
  }
  if (shape.ranks_per_node < 1) {
    refuse_place("got " + std::to_string(shape.ranks_per_node) + " ranks a node, want at least 1");
  }
  if (shape.slots < 1) {
    refuse_place("got " + std::to_string(shape.slots) + " slots a rank, want at least 1");
  }
  if (shape.slots < experts && shape.slots * shape.ranks < experts) {
    refuse_place(std::to_string(shape.slots) + " slots on each of " + std::to_string(shape.ranks) +
                 " ranks hold " + std::to_string(shape.slots * shape.ranks) +
                 " copies, want at least " + std::to_string(experts) + ", one of every expert");
  }
  for (std::size_t e = 0; e < load.rows.size(); ++e) {
    if (std::isfinite(load.rows[e]) && load.rows[e] >= 0) continue;
    refuse_place("load of expert " + std::to_string(e) + ", got " + std::to_string(load.rows[e]) +
                 ", want a finite number from 0");
  }
  for (const experts::Routing& step : load.tokens) {
    for (const std::int32_t expert : step.experts) {
      if (expert == experts::kDropped || (expert >= 0 && expert < experts)) continue;
      refuse_place("a token chose expert " + std::to_string(expert) + ", want 0 to " +
                   std::to_string(experts - 1));
    }
  }
}

Placement place(const Policy& policy, const LayerLoad& load, const MachineShape& shape,
                const PolicyOptions& options) {
  check(load, shape);
  return policy.place(load, shape, options);
}
}  // namespace switchyard::runtime
