// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What if: the same simulation with one thing changed.
#include <string>

#include "launch/simulator/faithful_report.hpp"

namespace switchyard::launch {
/// In a process of its own, for SimGrid simulates once a process. Before any simulation in this
/// one.
/// @param name  "perfect-balance", "infinite-network", "no-deduplication", "one-level",
///              "two-level", or a placement's name or file
/// @throws std::invalid_argument  what the change rules out; ends the program as the other process
///         ended if that was not well
[[nodiscard]] WhatIf simulate_variant(const std::string& name, SimulateSettings settings,
                                      runtime::Machine machine);
}  // namespace switchyard::launch
