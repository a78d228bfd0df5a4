// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/judge/traffic.hpp"

#include <algorithm>

#include "experts/index.hpp"
#include "runtime/placement/policies/hosted.hpp"

namespace switchyard::runtime {

LayerTraffic traffic_of(std::span<const experts::Routing> steps, const Placement& placement,
                        const MachineShape& shape) {
  LayerTraffic traffic;
  traffic.computed.assign(at(shape.ranks), 0.0);
  traffic.load.assign(at(placement.experts()), 0.0);
  traffic.sent.assign(at(shape.ranks), 0);
  traffic.received.assign(at(shape.ranks), 0);
  std::vector<std::int64_t> rank_seen(at(shape.ranks), -1);
  std::vector<std::int64_t> node_seen(at(shape.nodes()), -1);
  std::int64_t token = 0;
  const auto tier = [&](int home, int host) -> TierCount& {
    if (host == home) return traffic.home;
    return shape.node_of(host) == shape.node_of(home) ? traffic.node : traffic.fabric;
  };
  for (const experts::Routing& step : steps) {
    for_each_token(step, placement, [&](int home, auto chosen, auto hosts) {
      for (std::size_t s = 0; s < hosts.size(); ++s) {
        if (hosts[s] == kNowhere) continue;
        const int host = hosts[s];
        ++traffic.slots;
        traffic.computed[at(host)] += 1;
        traffic.load[at(chosen[s])] += 1;
        ++tier(home, host).results;
        if (rank_seen[at(host)] == token) continue;
        rank_seen[at(host)] = token;
        ++tier(home, host).rows;
        const int node = shape.node_of(host);
        if (node == shape.node_of(home)) continue;
        ++traffic.sent[at(home)];
        ++traffic.received[at(host)];
        if (node_seen[at(node)] != token) ++traffic.rows_a_node;
        node_seen[at(node)] = token;
      }
      ++token;
    });
  }
  traffic.tokens = token;
  return traffic;
}

std::vector<double> load_of(std::span<const experts::Routing> steps, std::int64_t experts) {
  std::vector<double> load(at(experts), 0.0);
  for (const experts::Routing& step : steps) {
    for (const std::int32_t expert : step.experts) {
      if (expert >= 0 && expert < experts) load[at(expert)] += 1;
    }
  }
  return load;
}
}  // namespace switchyard::runtime
