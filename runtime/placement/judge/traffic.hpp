// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a placement makes of some tokens: who computes how much, and what crosses which tier.
/// Counted token by token with the choices that a real plan makes (policies/hosted.hpp).
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

/// On their way out rows are named once to each rank, however many of its experts want them; every
/// (token, slot) has a result of its own on the way back.
struct TierCount {
  std::int64_t rows = 0;
  std::int64_t results = 0;
};

struct LayerTraffic {
  std::int64_t tokens = 0;
  std::int64_t slots = 0;              ///< that a rank computes
  std::vector<double> computed;        ///< [ranks], slots
  std::vector<double> load;            ///< [experts], slots that chose each
  TierCount home;                      ///< to the token's own rank
  TierCount node;                      ///< to another rank of its node
  TierCount fabric;                    ///< to a rank of another node
  std::int64_t rows_a_node = 0;        ///< to other nodes, if a row crosses to each node once
  std::vector<std::int64_t> sent;      ///< [ranks], of fabric.rows, by the home rank
  std::vector<std::int64_t> received;  ///< [ranks], of fabric.rows
};

[[nodiscard]] LayerTraffic traffic_of(std::span<const experts::Routing> steps,
                                      const Placement& placement, const MachineShape& shape);

/// Slots that chose each expert. @return [experts]
[[nodiscard]] std::vector<double> load_of(std::span<const experts::Routing> steps,
                                          std::int64_t experts);
}  // namespace switchyard::runtime
