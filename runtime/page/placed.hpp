// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What placements make of recorded tokens, counted token by token with the choices of a real plan.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/page/findings.hpp"
#include "runtime/placement/judge/token_steps.hpp"

namespace switchyard::runtime::page {

struct PlacedRequest {
  std::string trace = {};  ///< a routing trace
  std::vector<std::string> placements =
      {};         ///< "linear", "round-robin" or files, all of as many ranks
  int ranks = 0;  ///< 0: as the files have it
  std::int64_t most_slots = std::int64_t{1} << 25;  ///< to look at; evenly spaced steps of more
};

/// Adds a load and, if it is known how many ranks there are, what each placement makes of it.
/// @param progress  steps done, and of how many; may be empty
/// @throws std::invalid_argument  files of different rank counts; and what reading throws
void add_placed(const PlacedRequest& request, Findings& findings,
                const std::function<void(std::int64_t, std::int64_t)>& progress);
}  // namespace switchyard::runtime::page
