// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The real program's exchange over a simulated network.
#include "launch/commands/simulate_options.hpp"
#include "launch/json_output.hpp"
#include "runtime/simulate/machine.hpp"

namespace switchyard::launch {
/// @param machine  of at least settings.ranks
/// @throws std::exception  before anything is simulated; later the program ends with its message
void simulate_faithful(const SimulateSettings& settings, const runtime::Machine& machine,
                       std::ostream& out, JsonOutput& json);
}  // namespace switchyard::launch
