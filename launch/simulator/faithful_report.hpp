// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a simulation says of its result beside what `run` says.
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "launch/simulator/faithful.hpp"

namespace switchyard::launch {

/// The same with one thing changed.
struct WhatIf {
  std::string name;
  double step_s = 0;
  nlohmann::ordered_json phases;
};

/// Seconds of the critical path by what they went into, the longest first.
struct PathPart {
  std::string phase;
  std::string what;  ///< "computing", "messages", "flows to another rank of the node"
  double seconds = 0;
};
[[nodiscard]] std::vector<PathPart> parts_of(const std::vector<runtime::Cause>& path,
                                             const runtime::Machine& machine);

[[nodiscard]] double step_seconds(const Faithful& all);

void print_faithful(const SimulateSettings& settings, const Faithful& all,
                    const std::vector<WhatIf>& what_if, const runtime::Machine& machine,
                    std::ostream& out);
[[nodiscard]] nlohmann::ordered_json faithful_json(const SimulateSettings& settings,
                                                   const Faithful& all,
                                                   const std::vector<WhatIf>& what_if,
                                                   const runtime::Machine& machine);
}  // namespace switchyard::launch
