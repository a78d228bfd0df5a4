// SPDX-License-Identifier: Apache-2.0
#include "comm/group/node_map.hpp"

#include <map>

namespace switchyard::comm {

NodeMap NodeMap::from_leaders(std::span<const int> leaders) {
  NodeMap map;
  std::map<int, int> number_of;
  for (std::size_t rank = 0; rank < leaders.size(); ++rank) {
    const auto [found, fresh] =
        number_of.emplace(leaders[rank], static_cast<int>(map.ranks_of.size()));
    if (fresh) map.ranks_of.emplace_back();
    auto& ranks = map.ranks_of[static_cast<std::size_t>(found->second)];
    map.node_of.push_back(found->second);
    map.local_of.push_back(static_cast<int>(ranks.size()));
    ranks.push_back(static_cast<int>(rank));
  }
  map.nodes = static_cast<int>(map.ranks_of.size());
  return map;
}
}  // namespace switchyard::comm
