// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The real program's exchange over a simulated network.
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "launch/commands/simulate_options.hpp"
#include "launch/json_output.hpp"
#include "runtime/run/run.hpp"
#include "runtime/simulate/engine/causes.hpp"
#include "runtime/simulate/link_use.hpp"
#include "runtime/simulate/machine.hpp"
#include "runtime/simulate/traffic.hpp"

namespace switchyard::launch {

/// What one simulation came to.
struct Faithful {
  runtime::RunResult result;
  std::vector<runtime::RankTraffic> ranks;      ///< none with --numerics
  std::vector<std::vector<std::int64_t>> sent;  ///< [ranks, ranks] bytes, if they are few
  std::array<double, runtime::kAllTiers.size()> tier_bytes{};
  std::vector<runtime::LinkUse> links;  ///< of all steps, the busiest first
  std::vector<runtime::Cause> path;     ///< that ended last
  std::int64_t flows = 0;               ///< of the network
  double simulated_s = 0;
  std::vector<std::unique_ptr<runtime::Timeline>> timelines;  ///< by rank, if they are wanted
};

/// Once a process. A rank that fails ends the program with its message.
/// @param machine  of at least settings.ranks
[[nodiscard]] Faithful simulate(const SimulateSettings& settings, const runtime::Machine& machine);

/// Simulates, and every --what-if in a process of its own, and reports.
/// @throws std::exception  before anything is simulated; later the program ends with its message
void simulate_faithful(const SimulateSettings& settings, const runtime::Machine& machine,
                       std::ostream& out, JsonOutput& json);
}  // namespace switchyard::launch
