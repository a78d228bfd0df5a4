// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/mask.hpp"

#include "experts/index.hpp"

namespace switchyard::runtime {

void mask_lost(const Placement& placement, experts::Routing& routing, LayerStats& stats) {
  if (placement.lost().empty()) return;
  stats.masked.resize(at(placement.experts()));
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    bool degraded = false;
    for (std::int64_t slot = routing.offsets[at(t)]; slot < routing.offsets[at(t + 1)]; ++slot) {
      std::int32_t& expert = routing.experts[at(slot)];
      if (expert < 0 || expert >= placement.experts()) continue;  // dropped, or identity
      if (!placement.hosts_of(expert).empty()) continue;
      ++stats.masked[at(expert)];
      expert = experts::kDropped;
      degraded = true;
    }
    if (degraded) ++stats.masked_tokens;
  }
}

const experts::Routing& without_lost(const Placement& placement, const experts::Routing& routing,
                                     experts::Routing& room, LayerStats& stats) {
  if (placement.lost().empty()) return routing;
  room = routing;
  mask_lost(placement, room, stats);
  return room;
}
}  // namespace switchyard::runtime
