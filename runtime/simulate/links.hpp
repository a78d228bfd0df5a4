// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Everything of a machine that bytes go through, numbered: ports of ranks, what ranks share,
/// network cards, and the links of the fabric with the routes that its engine gives.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

/// The fabric as its engine knows it. Links that serve both directions at once are two.
struct FabricLinks {
  std::vector<std::string> names;
  std::vector<double> bytes_per_s;                          ///< [links]
  std::function<std::vector<int>(int from, int to)> route;  ///< links between two different nodes
};

class Links {
 public:
  /// @param machine  outlives this
  Links(const Machine& machine, FabricLinks fabric);

  [[nodiscard]] std::size_t count() const { return bytes_per_s_.size(); }
  [[nodiscard]] const std::vector<double>& bytes_per_s() const { return bytes_per_s_; }
  /// "card 1 of node 3, in", "port of rank 5 to its socket, out"
  [[nodiscard]] std::string name(std::size_t link) const;

  /// @param tier  at most kNode
  [[nodiscard]] std::size_t port(Tier tier, int rank, bool out) const;
  /// What the rank shares with others of its core, socket or node; -1: nothing.
  [[nodiscard]] std::int64_t shared(Tier tier, int rank) const;
  [[nodiscard]] std::size_t card(int rank, bool out) const;
  /// What both directions of the card share; -1: nothing.
  [[nodiscard]] std::int64_t card_both(int rank) const;
  /// Where a rank is, so that looking it up costs no division.
  struct Place {
    std::int32_t node = 0;
    std::int32_t hub = 0;               ///< the switch that its node hangs on
    std::int32_t socket = 0, core = 0;  ///< numbers over all nodes
    std::size_t card_out = 0, card_in = 0;
    std::int64_t card_both = -1;
  };
  [[nodiscard]] const Place& place(int rank) const {
    return places_[static_cast<std::size_t>(rank)];
  }
  /// The switch that a node hangs on.
  [[nodiscard]] std::int32_t hub(int node) const { return hubs_[static_cast<std::size_t>(node)]; }
  /// Of two different nodes: kRack or kFabric.
  [[nodiscard]] Tier tier_between(int node, int other) const {
    return hub(node) == hub(other) ? Tier::kRack : Tier::kFabric;
  }
  /// From one node to another; asked of the fabric once and kept.
  [[nodiscard]] std::span<const std::int32_t> route(int from, int to);
  /// Asks for all routes. Seconds where there are thousands of nodes.
  void learn_routes();

  [[nodiscard]] const Machine& machine() const { return machine_; }

 private:
  /// Routes from one node; `ends[to]` is -1 until asked for.
  struct Row {
    std::vector<std::int32_t> begins, ends, links;
  };
  const Machine& machine_;
  FabricLinks fabric_;
  std::size_t ranks_, first_shared_[3] = {}, first_card_ = 0, first_both_ = 0, first_fabric_ = 0;
  std::vector<double> bytes_per_s_;
  std::vector<Place> places_;       ///< [ranks]
  std::vector<std::int32_t> hubs_;  ///< [nodes]
  std::vector<std::unique_ptr<Row>> routes_;
};
}  // namespace switchyard::runtime
