// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What all flows of one exchange put on each link, and how long that takes if they flow at once:
/// the time of the fullest link, which no schedule can beat.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/simulate/links.hpp"

namespace switchyard::runtime {

/// Of one exchange, from the first row to the last.
struct FlowTime {
  double seconds = 0;      ///< fixed_s + latency_s + the longest of the three below
  double fixed_s = 0;      ///< before the first row
  double latency_s = 0;    ///< of the longest route
  double network_s = 0;    ///< of the fullest link
  double processor_s = 0;  ///< messages of the rank, or of the node, with the most of them
  double message_s = 0;    ///< the largest message, alone on its route
  std::string limit;       ///< "card 1 of node 3, in", "messages of rank 5", "the largest message"
};

class Flows {
 public:
  /// Which end of all flows comes in rising order of nodes: it says when bytes between two nodes
  /// are complete and can go on their route's links together.
  enum class By { kSource, kTarget };
  Flows(Links& links, By by);

  /// One rank sends another so many bytes, in so many messages of equal size.
  void add(int from, int to, double bytes, double messages);
  /// What one rank sends to, or gets from, other nodes, added up by the caller: its card and its
  /// messages only. The rest of it is told by add_route and note_message.
  void add_card(int rank, bool out, double bytes, double messages);
  /// All bytes from one node to another. Nodes come in the order of By.
  void add_route(int from_node, int to_node, double bytes);
  /// One message of this size was among what add_card was told. @param tier  kRack or kFabric
  void note_message(Tier tier, double bytes) {
    double& largest = largest_[static_cast<std::size_t>(tier)];
    if (bytes > largest) largest = bytes;
  }
  /// Messages without bytes worth counting, sent or received.
  void add_messages(int rank, Tier tier, double messages);
  /// After the last add.
  void finish();

  [[nodiscard]] FlowTime time(double fixed_s) const;
  /// [links]
  [[nodiscard]] const std::vector<double>& bytes() const { return bytes_; }
  /// Between ranks that have no nearer tier in common.
  [[nodiscard]] const std::array<double, kAllTiers.size()>& tier_bytes() const {
    return tier_bytes_;
  }

 private:
  void put(int from_node, int to_node, double bytes);
  void flush();

  Links& links_;
  By by_;
  int anchor_ = 0;               ///< the node whose bytes are in pair_
  std::vector<double> pair_;     ///< [nodes], to or from the anchor
  std::vector<int> touched_;     ///< nodes with bytes in pair_
  std::vector<double> bytes_;    ///< [links]
  std::vector<double> spent_s_;  ///< [ranks], on messages
  std::array<double, kAllTiers.size()> message_s_{};
  std::array<double, kAllTiers.size()> tier_bytes_{};
  std::array<double, kAllTiers.size()> largest_{};  ///< message of each tier
  std::size_t longest_route_ = 0;                   ///< in links of the fabric
};
}  // namespace switchyard::runtime
