// SPDX-License-Identifier: Apache-2.0
// Our own writing of the algorithm that the README of github.com/deepseek-ai/EPLB describes; its
// example is a test.
#include "runtime/placement/policies/eplb.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "experts/index.hpp"
#include "runtime/placement/policies/all.hpp"

namespace switchyard::runtime {
namespace {
void require_multiple(const char* what, std::int64_t value, std::int64_t of) {
  if (of > 0 && value > 0 && value % of == 0) return;
  throw std::invalid_argument("eplb: got " + std::to_string(value) + " " + what +
                              ", want a multiple of " + std::to_string(of));
}

/// `items` in the order of their packs; within a pack as they were packed, heaviest first.
std::vector<std::int64_t> order_by_pack(std::span<const double> weights, std::int64_t packs) {
  const auto pack = pack_equal(weights, packs);
  std::vector<std::int64_t> order;
  std::vector<std::vector<std::int64_t>> members(at(packs));
  // With one item a pack the published packer keeps the items' own order, and so does this.
  const auto heaviest = by_falling_load(weights);
  for (const std::int32_t item : heaviest) members[at(pack[at(item)])].push_back(item);
  for (const auto& member : members) order.insert(order.end(), member.begin(), member.end());
  return order;
}

/// One copy of each, and one after the other of whichever has most rows a copy.
std::vector<std::int64_t> copies_of(std::span<const double> rows, std::int64_t copies,
                                    std::vector<std::int64_t>& count) {
  std::vector<std::int64_t> physical(at(copies));
  const auto experts = static_cast<std::int64_t>(rows.size());
  count.assign(rows.size(), 1);
  for (std::int64_t i = 0; i < copies; ++i) {
    physical[at(i)] = i;
    if (i < experts) continue;
    std::size_t most = 0;
    for (std::size_t e = 1; e < rows.size(); ++e) {
      if (rows[e] / static_cast<double>(count[e]) > rows[most] / static_cast<double>(count[most])) {
        most = e;
      }
    }
    physical[at(i)] = static_cast<std::int64_t>(most);
    ++count[most];
  }
  return physical;
}

/// Physical experts as a placement: a second copy on a rank is none, so its slot goes to the expert
/// with most rows a copy that the rank has not.
Placement placed(const LayerLoad& load, const MachineShape& shape,
                 const std::vector<std::int32_t>& physical) {
  Draft draft(load.rows, shape);
  const std::int64_t each = static_cast<std::int64_t>(physical.size()) / shape.ranks;
  std::vector<int> free;
  for (std::size_t i = 0; i < physical.size(); ++i) {
    const int rank = static_cast<int>(static_cast<std::int64_t>(i) / each);
    if (draft.hosts(rank, physical[i])) {
      free.push_back(rank);
    } else {
      draft.add(physical[i], rank);
    }
  }
  for (const int rank : free) {
    std::int32_t most = -1;
    for (std::int32_t e = 0; e < draft.experts(); ++e) {
      if (draft.hosts(rank, e) || draft.rows(e) == 0) continue;
      if (most < 0 || draft.share(e) > draft.share(most)) most = e;
    }
    if (most >= 0) draft.add(most, rank);
  }
  return draft.placement();
}

std::int64_t copies_in(const LayerLoad& load, const MachineShape& shape) {
  return shape.ranks * std::min(shape.slots, static_cast<std::int64_t>(load.rows.size()));
}
}  // namespace

std::vector<std::int64_t> pack_equal(std::span<const double> weights, std::int64_t packs) {
  require_multiple("items", static_cast<std::int64_t>(weights.size()), packs);
  const std::int64_t each = static_cast<std::int64_t>(weights.size()) / packs;
  std::vector<std::int64_t> pack(weights.size());
  if (each == 1) {
    for (std::size_t i = 0; i < pack.size(); ++i) pack[i] = static_cast<std::int64_t>(i);
    return pack;
  }
  std::vector<double> weight(at(packs), 0.0);
  std::vector<std::int64_t> items(at(packs), 0);
  for (const std::int32_t item : by_falling_load(weights)) {
    std::size_t lightest = at(packs);
    for (std::size_t p = 0; p < weight.size(); ++p) {
      if (items[p] == each) continue;
      if (lightest == weight.size() || weight[p] < weight[lightest]) lightest = p;
    }
    pack[at(item)] = static_cast<std::int64_t>(lightest);
    weight[lightest] += weights[at(item)];
    ++items[lightest];
  }
  return pack;
}

std::vector<std::int32_t> eplb_physical(std::span<const double> rows, const EplbShape& shape) {
  const auto experts = static_cast<std::int64_t>(rows.size());
  const bool nodes_count = shape.groups % shape.nodes == 0;
  const std::int64_t nodes = nodes_count ? shape.nodes : 1;
  const std::int64_t groups = nodes_count ? shape.groups : 1;
  require_multiple("experts", experts, groups);
  require_multiple("ranks", shape.ranks, nodes);
  require_multiple("copies", shape.copies, shape.ranks);
  if (shape.copies < experts) {
    throw std::invalid_argument("eplb: got " + std::to_string(shape.copies) +
                                " copies, want at least " + std::to_string(experts));
  }
  // 1. Groups to nodes.
  const std::int64_t in_group = experts / groups;
  std::vector<double> of_group(at(groups), 0.0);
  for (std::int64_t e = 0; e < experts; ++e) of_group[at(e / in_group)] += rows[at(e)];
  std::vector<std::int64_t> logical;  // of the experts in the order of nodes
  for (const std::int64_t group : order_by_pack(of_group, nodes)) {
    for (std::int64_t i = 0; i < in_group; ++i) logical.push_back(group * in_group + i);
  }
  // 2. Copies within each node. 3. Copies to its ranks.
  const std::int64_t in_node = experts / nodes;
  std::vector<std::int32_t> physical;
  for (std::int64_t node = 0; node < nodes; ++node) {
    std::vector<double> own(at(in_node));
    for (std::int64_t i = 0; i < in_node; ++i) {
      own[at(i)] = rows[at(logical[at(node * in_node + i)])];
    }
    std::vector<std::int64_t> count;
    const auto copies = copies_of(own, shape.copies / nodes, count);
    std::vector<double> share(copies.size());
    for (std::size_t i = 0; i < copies.size(); ++i) {
      share[i] = own[at(copies[i])] / static_cast<double>(count[at(copies[i])]);
    }
    for (const std::int64_t copy : order_by_pack(share, shape.ranks / nodes)) {
      physical.push_back(static_cast<std::int32_t>(logical[at(node * in_node + copies[at(copy)])]));
    }
  }
  return physical;
}

Placement eplb_global(const LayerLoad& load, const MachineShape& shape, const PolicyOptions&) {
  const EplbShape whole{.copies = copies_in(load, shape), .ranks = shape.ranks};
  return placed(load, shape, eplb_physical(load.rows, whole));
}

Placement eplb_hierarchical(const LayerLoad& load, const MachineShape& shape,
                            const PolicyOptions& options) {
  const auto experts = static_cast<std::int64_t>(load.rows.size());
  const EplbShape nodes{.copies = copies_in(load, shape),
                        .groups = options.groups == 0 ? experts : options.groups,
                        .nodes = shape.nodes(),
                        .ranks = shape.ranks};
  const bool divides = shape.ranks % shape.ranks_per_node == 0 && experts % nodes.groups == 0 &&
                       nodes.groups % nodes.nodes == 0 && nodes.copies / nodes.nodes >= 1 &&
                       experts / nodes.nodes <= nodes.copies / nodes.nodes;
  if (!divides) return eplb_global(load, shape, options);
  return placed(load, shape, eplb_physical(load.rows, nodes));
}
}  // namespace switchyard::runtime
