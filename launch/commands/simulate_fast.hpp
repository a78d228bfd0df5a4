// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `simulate --fast`: its options and what it prints.
#include <ostream>
#include <vector>

#include "launch/json_output.hpp"
#include "launch/options.hpp"
#include "runtime/simulate/links.hpp"
#include "runtime/simulate/machine.hpp"

namespace switchyard::launch {

/// Beside those of `run`, --machine and --ranks.
[[nodiscard]] std::vector<Option> fast_options();

/// @param machine  of as many nodes as --ranks need
/// @param engine   whose routes `fabric` has: "SimGrid 3.32"
void simulate_fast(const Options& options, const runtime::Machine& machine,
                   const runtime::FabricLinks& fabric, const std::string& engine, std::ostream& out,
                   JsonOutput& json);
}  // namespace switchyard::launch
