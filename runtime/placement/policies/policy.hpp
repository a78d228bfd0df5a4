// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The one seam of all placement policies: the load of a layer and the shape of the machine go in,
/// a Placement comes out. Pure functions of their arguments: no clock, no randomness, no files.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "experts/router/routing.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

/// Where the experts of a layer may live.
struct MachineShape {
  int ranks = 1;
  int ranks_per_node = 1;  ///< consecutive ones; the last node may have fewer
  std::int64_t slots = 1;  ///< copies of experts that a rank has memory for, in each layer

  [[nodiscard]] int nodes() const { return (ranks + ranks_per_node - 1) / ranks_per_node; }
  [[nodiscard]] int node_of(int rank) const { return rank / ranks_per_node; }
};

/// What is known of one layer in a window of the past.
struct LayerLoad {
  std::vector<double> rows;                       ///< [experts], slots that chose each
  std::span<const experts::Routing> tokens = {};  ///< the choices, a step each; empty: not known
};

struct PolicyOptions {
  std::int64_t groups = 0;  ///< groups of experts that stay on one node (EPLB); 0: each its own
  double copy_rows = 0;     ///< rows that a copy must save the busiest rank (shadowing)
  int trials = 300;         ///< placements that `search` tries on the tokens themselves
};

struct Policy {
  std::string_view name;
  std::string_view summary;
  bool copies = false;  ///< whether it makes more than one copy of an expert
  Placement (*place)(const LayerLoad&, const MachineShape&, const PolicyOptions&) = nullptr;
};

/// All of them, linear first.
[[nodiscard]] std::vector<Policy> policies();
/// @throws std::invalid_argument  "--policy: got 'lpt2', want linear, round-robin, ..."
[[nodiscard]] Policy policy_from(std::string_view name);

/// @throws std::invalid_argument  "place: 2 slots on each of 4 ranks hold 8 copies, want at least
///         32, one of every expert"; ranks, nodes or slots below 1; no experts; a load that is
///         negative or not finite; tokens of more experts than there are
void check(const LayerLoad& load, const MachineShape& shape);

/// check(), then the policy: what callers use.
[[nodiscard]] Placement place(const Policy& policy, const LayerLoad& load,
                              const MachineShape& shape, const PolicyOptions& options = {});
}  // namespace switchyard::runtime
