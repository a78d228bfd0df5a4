// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The flags of `simulate`, which are those of `run` and some more. switchyard and switchyard-sim
/// read the same.
#include <string>
#include <vector>

#include "launch/options.hpp"
#include "runtime/run/settings.hpp"

namespace switchyard::launch {
/// How the ranks of a machine are played.
struct SimulateSettings {
  runtime::RunSettings run;
  std::string machine;
  int ranks = 0;                     ///< 0: as many as the machine has
  bool numerics = false;             ///< rows have contents, and the output a digest
  bool compute = true;               ///< computing takes the machine's time
  int window = 0;                    ///< 0: as in a real run
  std::int64_t layers = 0;           ///< that the result stands for
  std::vector<std::string> simgrid;  ///< NAME:VALUE
  std::vector<std::string> what_if;  ///< one change each
  std::string trace;                 ///< file of the timelines; empty: none
  bool fast = false;                 ///< in closed form
  bool floods = false;               ///< messages between all pairs of however many ranks
  std::size_t links = 20;            ///< of the busiest, to name
  bool balanced = false;             ///< what if: every rank computes as many rows as every other
  bool deduplicate = true;           ///< what if not: a row goes to a rank once an expert
};

/// Without --json, which every command has.
[[nodiscard]] std::vector<Option> simulate_options();
/// @param ranks  of the machine, once it is known; 0: not yet
/// @throws std::invalid_argument  combinations that cannot be, or would give wrong figures
[[nodiscard]] SimulateSettings simulate_settings(const Options& options);
/// What a number of ranks rules out. Sets the transport where it was left open.
void settle_transport(const Options& options, int nodes, SimulateSettings& settings);
/// @throws std::invalid_argument  "WHAT for 65 ranks, whose 4160 pairs flood the simulation, ..."
void require_no_flood(const SimulateSettings& settings, const std::string& what);
}  // namespace switchyard::launch
