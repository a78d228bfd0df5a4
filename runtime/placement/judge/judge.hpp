// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Policies and placements on trial: what is made from one window of steps is judged on the next.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/placement/judge/migration.hpp"
#include "runtime/placement/judge/token_steps.hpp"
#include "runtime/placement/judge/traffic.hpp"
#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

/// Consecutive steps.
struct StepWindow {
  std::int64_t first = 0;
  std::int64_t count = 0;
};
/// As equal as can be, the first ones a step longer.
/// @throws std::invalid_argument  "--windows: got 9, want 1 to 8, the steps there are"
[[nodiscard]] std::vector<StepWindow> cut_windows(std::int64_t steps, std::int64_t windows);

/// Sums over all layers of a window.
struct Verdict {
  double slowest_rows = 0;  ///< of each layer's busiest rank: what a step waits for
  double mean_rows = 0;     ///< over ranks
  double bound_rows = 0;    ///< least_worst of each layer, whatever the placement
  int worst_rank = 0;       ///< with most rows in all layers
  double worst_rank_rows = 0;
  std::int64_t tokens = 0;  ///< of one layer
  std::int64_t slots = 0;
  TierCount home, node, fabric;
  std::int64_t rows_a_node = 0;
  std::int64_t most_sent = 0;    ///< to other nodes, by the rank that sends most
  std::int64_t most_copies = 0;  ///< of experts, on the fullest rank
  [[nodiscard]] double balancedness() const {
    return slowest_rows > 0 ? mean_rows / slowest_rows : 1;
  }
  /// Share of rows by which the busiest ranks are above the bound.
  [[nodiscard]] double regret() const { return bound_rows > 0 ? slowest_rows / bound_rows - 1 : 0; }
};

/// What is on trial: a policy that plans anew for each window, or placements that stay.
struct Contender {
  std::string name;
  std::optional<Policy> policy = {};
  std::vector<Placement> fixed = {};  ///< [layers], without a policy
};

struct JudgeSettings {
  MachineShape shape;
  PolicyOptions options;
  double expert_bytes = 0;
  Links links;
  std::vector<Placement> before = {};  ///< [layers], where experts are at first; empty: linear
};

/// One window, by a plan made from the window before it.
struct WindowVerdict {
  StepWindow window;
  Verdict verdict;      ///< of the plan from the window before; of one window alone: from itself
  Verdict hindsight;    ///< of a plan from this very window
  Migration migration;  ///< to the plan, from the one before it
};

struct Trial {
  std::string name;
  std::vector<WindowVerdict> windows;  ///< from the second on; if there is one only, that
};

/// @throws std::invalid_argument  as check(); "place: rank 3 of layer 2 holds 5 copies, want at
/// most
///         4, its slots" for placements that stay
[[nodiscard]] std::vector<Trial> judge(TokenSteps& steps, const std::vector<StepWindow>& windows,
                                       const std::vector<Contender>& contenders,
                                       const JudgeSettings& settings);

/// The tokens of a layer in a window.
[[nodiscard]] std::vector<experts::Routing> tokens_in(TokenSteps& steps, std::int64_t layer,
                                                      const StepWindow& window);
}  // namespace switchyard::runtime
