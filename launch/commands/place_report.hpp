// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Verdicts on placements, as a table and as JSON.
#include <ostream>
#include <string>
#include <vector>

#include "launch/command.hpp"
#include "launch/commands/place_options.hpp"

namespace switchyard::launch {

/// "# FILE: 24 layers of 32 experts, 176 steps; 8 ranks on 2 nodes, 5 slots a rank".
[[nodiscard]] std::string describe(const PlaceRequest& request);

/// A line for each contender, over all windows that are judged.
void print_table(const PlaceRequest& request, const std::vector<runtime::Trial>& trials,
                 std::ostream& out);
/// A line for each window of one contender.
void print_windows(const runtime::Trial& trial, std::ostream& out);
/// What crosses which tier, memory and migration of one contender.
void print_details(const PlaceRequest& request, const runtime::Trial& trial, std::ostream& out);

[[nodiscard]] nlohmann::ordered_json to_json(const PlaceRequest& request,
                                             const runtime::Trial& trial);
/// Ranks, slots, where tokens came from.
[[nodiscard]] nlohmann::ordered_json to_json(const PlaceRequest& request);
}  // namespace switchyard::launch
