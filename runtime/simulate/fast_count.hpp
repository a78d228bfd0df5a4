// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Counts, home by home, what a layer puts on links: rows and results between two nodes are added
/// up by rank and by pair of nodes, since millions of pairs of ranks one by one would take seconds.
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/placement/placement.hpp"
#include "runtime/simulate/fast.hpp"
#include "runtime/simulate/flows.hpp"

namespace switchyard::runtime {

class FastCount {
 public:
  /// All outlive this.
  FastCount(Links& links, const Placement& placement, int ranks, const FastSettings& settings);

  /// One slot of a token of the present home. @param token  rises within a home
  void slot(int home, std::int32_t token, std::int32_t expert, std::int32_t host) {
    compute_at(expert, host);
    if (host == home) return;
    ToRank& rank = to_rank_[static_cast<std::size_t>(host)];
    if (rank.slots++ == 0) ranks_touched_.push_back(host);
    if (!settings_.deduplicate || rank.last != token) ++rank.rows;
    rank.last = token;
    if (!by_node_) return;
    const std::int32_t node = node_of_[static_cast<std::size_t>(host)];
    if (node == node_of_[static_cast<std::size_t>(home)]) return;
    ToNode& there = to_node_[static_cast<std::size_t>(node)];
    if (there.slots++ == 0) nodes_touched_.push_back(node);
    if (!settings_.deduplicate || there.last != token) ++there.rows;
    there.last = token;
  }
  /// After the last slot of this home; homes come in rising order.
  void end_home(int home);
  /// After the last home.
  void finish();

  [[nodiscard]] FlowTime dispatch_time(const Machine& machine) const;
  [[nodiscard]] FlowTime combine_time(const Machine& machine) const;
  /// Everything that bytes flowed in.
  [[nodiscard]] std::span<const Flows> flows() const { return flows_; }
  /// Rows that each rank's copies compute: of rank r those of placement.experts_of(r), in order.
  [[nodiscard]] std::span<const std::int64_t> copy_rows(int rank) const;

 private:
  struct ToRank {
    std::int32_t slots = 0, rows = 0, last = -1;
  };
  struct ToNode {
    std::int32_t slots = 0, rows = 0, last = -1;
  };
  /// What goes through the card of a rank, all homes together.
  struct Sum {
    double bytes = 0, messages = 0;
  };
  /// Between the node of the present homes and another one.
  struct Pair {
    double out = 0, home = 0;
    bool touched = false;
  };

  void compute_at(std::int32_t expert, std::int32_t host);
  void announce();
  void end_direct(int home);
  void end_two_level(int home);
  void end_relay(int home);
  void inside(int home, int to, const ToRank& count, bool messages);
  void add_pair(int node, double out, double home);
  void end_node();
  void end_doors();
  void forget_home();
  /// The rank of a node that takes in for its mates; its place in the node is `of` modulo theirs.
  [[nodiscard]] int door(int node, int of) const;
  [[nodiscard]] int mates(int node) const;

  Links& links_;
  const Placement& placement_;
  const FastSettings& settings_;
  int ranks_;
  bool by_node_;  ///< rows are counted by node too
  std::vector<std::int32_t> node_of_;
  std::vector<ToRank> to_rank_;
  std::vector<ToNode> to_node_;
  std::vector<std::int32_t> ranks_touched_, nodes_touched_, pairs_touched_;
  std::vector<Sum> dispatch_in_, combine_out_;    ///< [ranks], between nodes
  std::vector<Pair> pairs_;                       ///< [nodes]
  int anchor_ = 0;                                ///< whose pairs those are
  std::vector<std::vector<Sum>> through_, back_;  ///< [place of the door][ranks], inside their node
  std::vector<double> own_out_, own_home_;        ///< [mates], of one home of a relay
  std::vector<Flows> flows_;                      ///< dispatch's, then as many of combine
  std::vector<std::size_t> first_copy_;           ///< [ranks + 1]
  std::vector<std::int64_t> copy_rows_;
};
}  // namespace switchyard::runtime
