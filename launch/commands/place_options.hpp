// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What place plan, place eval and place compare have in common.
#include <memory>
#include <optional>
#include <vector>

#include "launch/options.hpp"
#include "runtime/placement/judge/judge.hpp"

namespace switchyard::launch {

/// Where tokens come from, the machine, what a row and an expert weigh.
[[nodiscard]] std::vector<Option> place_options();

/// The settings of one of these commands.
struct PlaceRequest {
  std::unique_ptr<runtime::TokenSteps> steps;
  runtime::JudgeSettings judge;
  std::optional<double> row_bytes;     ///< of a row on the wire
  std::optional<double> expert_bytes;  ///< of one copy of an expert
};

/// @throws std::invalid_argument  no source of tokens or several; experts that the model has not;
///         slots that do not hold them; std::system_error  a file that cannot be read
[[nodiscard]] PlaceRequest place_request(const Options& options);

/// The placement of every layer of the request, by name or file.
[[nodiscard]] std::vector<runtime::Placement> placements_of(const PlaceRequest& request,
                                                            const std::string& name);
}  // namespace switchyard::launch
