// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/policies/hosted.hpp"

#include "experts/index.hpp"

namespace switchyard::runtime {

HostedRows hosted_rows(std::span<const experts::Routing> steps, const Placement& placement) {
  const auto ranks = at(placement.ranks());
  const auto experts = at(placement.experts());
  std::vector<std::int64_t> rows(ranks * experts, 0);
  for (const experts::Routing& step : steps) {
    for_each_token(step, placement, [&](int, auto chosen, auto hosts) {
      for (std::size_t s = 0; s < hosts.size(); ++s) {
        if (hosts[s] != kNowhere) ++rows[at(hosts[s]) * experts + at(chosen[s])];
      }
    });
  }
  HostedRows hosted;
  hosted.of_rank.assign(ranks, 0);
  hosted.of_copy.resize(ranks);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (const std::int32_t expert : placement.experts_of(static_cast<int>(rank))) {
      hosted.of_copy[rank].push_back(rows[rank * experts + at(expert)]);
      hosted.of_rank[rank] += hosted.of_copy[rank].back();
    }
  }
  return hosted;
}
}  // namespace switchyard::runtime
