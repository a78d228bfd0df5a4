// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which ranks of a group stand on one node, so that they can share memory. Pure data.
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard::comm {

/// Nodes are numbered in the order of their lowest ranks.
struct NodeMap {
  int nodes = 1;
  std::vector<int> node_of;                ///< [ranks], number of each rank's node
  std::vector<int> local_of;               ///< [ranks], how many lower ranks stand on the same node
  std::vector<std::vector<int>> ranks_of;  ///< [nodes], rising

  /// @param leaders  [ranks], any number that exactly the ranks of one node have in common
  static NodeMap from_leaders(std::span<const int> leaders);

  [[nodiscard]] const std::vector<int>& mates_of(int rank) const {
    return ranks_of[static_cast<std::size_t>(node_of[static_cast<std::size_t>(rank)])];
  }
};
}  // namespace switchyard::comm
