// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The fast mode of `simulate`: the layers and steps of a run on a machine, in closed form, and
/// what would change if one thing were different.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/run/settings.hpp"
#include "runtime/simulate/fast.hpp"

namespace switchyard::runtime {

struct FastRunSettings {
  RunSettings
      run;  ///< model, layers, tokens, steps, seed, weights, routing, placement, transport, wire
  int ranks = 1;
  /// "perfect-balance", "infinite-network", "no-deduplication", "one-level", "two-level",
  /// "relay", or a placement's name or file.
  std::vector<std::string> what_if = {};
  std::size_t links = 20;  ///< of the busiest, to name
};

/// One phase over all layers of a step.
struct FastPhase {
  std::string name;
  double seconds = 0;
  std::string limit;   ///< of the layer where it is longest
  double limit_s = 0;  ///< of that layer
};

/// Means of the steps; sums of their layers.
struct FastOutcome {
  double step_s = 0;
  std::array<FastPhase, 3> phases;  ///< dispatch, compute, combine: one after the other
  double balancedness = 0;
  double logical_bytes = 0;
  double wire_bytes = 0;
  std::array<double, kAllTiers.size()> tier_bytes{};
};

struct FastRunResult {
  std::string model, routing, transport, transport_why, placement, weights;
  int ranks = 0, nodes = 0;
  std::int64_t layers = 0, steps = 0, tokens = 0;  ///< tokens of the largest step
  FastOutcome outcome;
  struct Link {
    std::string name;
    double bytes = 0;        ///< a step
    double utilisation = 0;  ///< share of the step at its full rate
  };
  std::vector<Link> links;
  struct WhatIf {
    std::string name;
    FastOutcome outcome;
  };
  std::vector<WhatIf> what_if;
  double layer_wall_s = 0;  ///< of one layer's estimate, median, routes known; routing not counted
};

/// @param machine  of as many nodes as the ranks need (Machine::with_ranks)
/// @throws std::invalid_argument  "--routing: ..."; "--transport: got node on 2 nodes, want ..."
[[nodiscard]] FastRunResult simulate_fast(const FastRunSettings& settings, const Machine& machine,
                                          const FabricLinks& fabric);
}  // namespace switchyard::runtime
