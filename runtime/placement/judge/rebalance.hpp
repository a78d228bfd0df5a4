// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Whether a running job should move its experts: the load of its last steps, and the decision that
/// a plan must earn its migration back. Pure; what moves experts is runtime/rebalance.
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "runtime/placement/judge/migration.hpp"
#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

/// Slots that chose each expert of each layer in the last steps.
class RecentLoad {
 public:
  /// @param steps  that count, at least 1
  RecentLoad(std::int64_t layers, std::int64_t experts, std::int64_t steps);
  /// @param load  [layers][experts] of one step
  /// @throws std::invalid_argument  "rebalance: load of 3 layers, want 4"
  void add(std::vector<std::vector<std::int64_t>> load);
  [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(window_.size()); }
  /// Sums over the steps that are there: what a policy takes.
  [[nodiscard]] LayerLoad of(std::int64_t layer) const;

 private:
  std::int64_t layers_;
  std::int64_t experts_;
  std::size_t most_;
  std::deque<std::vector<std::vector<std::int64_t>>> window_;
  std::vector<std::vector<std::int64_t>> sums_;  ///< [layers][experts]
};

/// What time is worth.
struct RebalanceCosts {
  double row_s = 0;         ///< that the busiest rank takes for a row of an expert
  double expert_bytes = 0;  ///< of one copy
  Links links;
  double overlap = 0;            ///< share of a migration that steps hide, 0 to 1
  std::int64_t pays_within = 0;  ///< steps in which a plan must earn its migration back
};

struct RebalanceDecision {
  bool moves = false;
  double saved_s = 0;  ///< a step, by the load of the window, rows shared evenly by copies
  double cost_s = 0;   ///< that the migration holds steps up, once
  Migration migration;
  std::string words;  ///< for the user, whichever way it went
};

/// @param load       [layers], of all ranks, summed over `steps`
/// @param now, plan  [layers]
[[nodiscard]] RebalanceDecision decide(const std::vector<LayerLoad>& load, std::int64_t steps,
                                       const std::vector<Placement>& now,
                                       const std::vector<Placement>& plan,
                                       const MachineShape& shape, const RebalanceCosts& costs);
/// The same by what one who saw all tokens has counted.
[[nodiscard]] RebalanceDecision decide(const RecentLoad& load, const std::vector<Placement>& now,
                                       const std::vector<Placement>& plan,
                                       const MachineShape& shape, const RebalanceCosts& costs);
}  // namespace switchyard::runtime
