// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/links.hpp"

#include <stdexcept>
#include <utility>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
constexpr Tier kInside[] = {Tier::kCore, Tier::kSocket, Tier::kNode};
}

Links::Links(const Machine& machine, FabricLinks fabric)
    : machine_(machine), fabric_(std::move(fabric)), ranks_(at(machine.ranks())) {
  const auto append = [&](std::size_t count, double bytes_per_s) {
    bytes_per_s_.insert(bytes_per_s_.end(), count, bytes_per_s);
  };
  for (const Tier tier : kInside) append(2 * ranks_, machine.cost(tier).bytes_per_s);
  const int shares[] = {machine.cores_per_node, machine.sockets_per_node, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    first_shared_[i] = bytes_per_s_.size();
    const double total = machine.cost(kInside[i]).total_bytes_per_s;
    if (total > 0) append(at(machine.nodes) * at(shares[i]), total);
  }
  first_card_ = bytes_per_s_.size();
  append(2 * at(machine.nodes) * at(machine.nics_per_node), machine.cost(Tier::kRack).bytes_per_s);
  first_both_ = bytes_per_s_.size();
  if (const double both = machine.card_both_bytes_per_s(); both > 0) {
    append(at(machine.nodes) * at(machine.nics_per_node), both);
  }
  first_fabric_ = bytes_per_s_.size();
  bytes_per_s_.insert(bytes_per_s_.end(), fabric_.bytes_per_s.begin(), fabric_.bytes_per_s.end());
  routes_.resize(at(machine.nodes));
  for (int node = 0; node < machine.nodes; ++node) {
    hubs_.push_back(node / machine.fabric.nodes_per_switch());
  }
  for (int rank = 0; rank < machine.ranks(); ++rank) {
    const int node = machine.node_of(rank);
    places_.push_back({.node = node,
                       .hub = hub(node),
                       .socket = node * machine.sockets_per_node + machine.socket_of(rank),
                       .core = node * machine.cores_per_node + machine.core_of(rank),
                       .card_out = card(rank, true),
                       .card_in = card(rank, false),
                       .card_both = card_both(rank)});
  }
}

std::size_t Links::port(Tier tier, int rank, bool out) const {
  const std::size_t first = 2 * ranks_ * static_cast<std::size_t>(tier);
  const bool second = !out && !machine_.cost(tier).half_duplex;
  return first + (second ? ranks_ : 0) + at(rank);
}

std::int64_t Links::shared(Tier tier, int rank) const {
  if (machine_.cost(tier).total_bytes_per_s <= 0) return -1;
  const int node = machine_.node_of(rank);
  int number = node;
  if (tier == Tier::kSocket) number = node * machine_.sockets_per_node + machine_.socket_of(rank);
  if (tier == Tier::kCore) number = node * machine_.cores_per_node + machine_.core_of(rank);
  return static_cast<std::int64_t>(first_shared_[static_cast<std::size_t>(tier)]) + number;
}

std::size_t Links::card(int rank, bool out) const {
  const std::size_t cards = at(machine_.nodes) * at(machine_.nics_per_node);
  const bool second = !out && !machine_.cost(Tier::kRack).half_duplex;
  return first_card_ + (second ? cards : 0) +
         at(machine_.node_of(rank) * machine_.nics_per_node + machine_.nic_of(rank));
}

std::int64_t Links::card_both(int rank) const {
  if (first_both_ == first_fabric_) return -1;
  return static_cast<std::int64_t>(first_both_) + machine_.node_of(rank) * machine_.nics_per_node +
         machine_.nic_of(rank);
}

std::span<const std::int32_t> Links::route(int from, int to) {
  auto& row = routes_[at(from)];
  if (row == nullptr) {
    row = std::make_unique<Row>();
    row->begins.assign(at(machine_.nodes), 0);
    row->ends.assign(at(machine_.nodes), -1);
  }
  if (row->ends[at(to)] < 0) {
    row->begins[at(to)] = static_cast<std::int32_t>(row->links.size());
    for (const int link : fabric_.route(from, to)) {
      if (link < 0 || at(link) >= fabric_.bytes_per_s.size()) {
        throw std::logic_error("fabric: route over link " + std::to_string(link) + ", want 0 to " +
                               std::to_string(fabric_.bytes_per_s.size()));
      }
      row->links.push_back(static_cast<std::int32_t>(first_fabric_) + link);
    }
    row->ends[at(to)] = static_cast<std::int32_t>(row->links.size());
  }
  return std::span(row->links)
      .subspan(at(row->begins[at(to)]), at(row->ends[at(to)] - row->begins[at(to)]));
}

void Links::learn_routes() {
  for (int from = 0; from < machine_.nodes; ++from) {
    for (int to = 0; to < machine_.nodes; ++to) {
      if (from != to) (void)route(from, to);
    }
  }
}

std::string Links::name(std::size_t link) const {
  const auto direction = [](bool second, bool half) -> std::string {
    return half ? "" : second ? ", in" : ", out";
  };
  if (link >= first_fabric_) return fabric_.names[link - first_fabric_];
  if (link >= first_card_) {
    const std::size_t cards = at(machine_.nodes) * at(machine_.nics_per_node);
    const std::size_t card = (link - first_card_) % cards;
    return "card " + std::to_string(card % at(machine_.nics_per_node)) + " of node " +
           std::to_string(card / at(machine_.nics_per_node)) +
           (link >= first_both_
                ? ", both ways"
                : direction(link - first_card_ >= cards, machine_.cost(Tier::kRack).half_duplex));
  }
  if (link >= first_shared_[2]) return "all of node " + std::to_string(link - first_shared_[2]);
  if (link >= first_shared_[1]) return "all of socket " + std::to_string(link - first_shared_[1]);
  if (link >= first_shared_[0]) return "all of core " + std::to_string(link - first_shared_[0]);
  const Tier tier = kInside[link / (2 * ranks_)];
  const std::size_t port = link % (2 * ranks_);
  return "port of rank " + std::to_string(port % ranks_) + " to its " + std::string(name_of(tier)) +
         direction(port >= ranks_, machine_.cost(tier).half_duplex);
}
}  // namespace switchyard::runtime
