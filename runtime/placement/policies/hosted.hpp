// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which rank computes which row of some tokens, as a plan would have it: by choose_hosts
/// (runtime/layer/plan.hpp) and the homes that a run gives its tokens (share_of).
#include <cstdint>
#include <span>
#include <vector>

#include "experts/router/routing.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/run/token_source.hpp"

namespace switchyard::runtime {

/// Calls visit(home, experts, hosts) for every token of a step, by rank and token; kNowhere in a
/// slot that no rank computes.
/// @param routing  the tokens of all ranks, in global order
template <class Visit>
void for_each_token(const experts::Routing& routing, const Placement& placement, Visit&& visit) {
  std::vector<std::int32_t> hosts;
  for (int home = 0; home < placement.ranks(); ++home) {
    const TokenShare share = share_of(routing.tokens(), home, placement.ranks());
    for (std::int64_t t = 0; t < share.count; ++t) {
      const auto begin = static_cast<std::size_t>(share.first + t);
      const std::span experts(routing.experts.data() + routing.offsets[begin],
                              routing.experts.data() + routing.offsets[begin + 1]);
      hosts.resize(experts.size());
      choose_hosts(experts, placement, home, t, hosts);
      visit(home, experts, std::span<const std::int32_t>(hosts));
    }
  }
}

/// Rows that each rank computes, and of each of its experts.
struct HostedRows {
  std::vector<std::int64_t> of_rank;               ///< [ranks]
  std::vector<std::vector<std::int64_t>> of_copy;  ///< [ranks][experts of the rank]
};
[[nodiscard]] HostedRows hosted_rows(std::span<const experts::Routing> steps,
                                     const Placement& placement);
}  // namespace switchyard::runtime
