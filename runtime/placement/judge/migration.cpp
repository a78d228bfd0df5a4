// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/judge/migration.hpp"

#include <algorithm>
#include <utility>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
/// How many copies inside a node take as long as one to another, about.
constexpr std::int64_t kFarCopies = 4;

void add_each(std::vector<double>& sum, const std::vector<double>& more) {
  if (sum.empty()) sum.assign(more.size(), 0.0);
  for (std::size_t i = 0; i < more.size(); ++i) sum[i] += more[i];
}
}  // namespace

double Migration::stall_s() const {
  double most = 0;
  for (const double each : sent_s) most = std::max(most, each);
  for (const double each : received_s) most = std::max(most, each);
  return most;
}

Migration& Migration::operator+=(const Migration& other) {
  copies_in_node += other.copies_in_node;
  copies_across += other.copies_across;
  add_each(sent_s, other.sent_s);
  add_each(received_s, other.received_s);
  return *this;
}

std::vector<CopyMove> moves_between(const Placement& before, const Placement& after,
                                    const MachineShape& shape) {
  std::vector<CopyMove> moves;
  std::vector<std::int64_t> near_sent(at(shape.ranks), 0);
  std::vector<std::int64_t> far_sent(at(shape.ranks), 0);
  for (int rank = 0; rank < after.ranks(); ++rank) {
    const auto had = before.experts_of(rank);
    for (const std::int32_t expert : after.experts_of(rank)) {
      if (std::binary_search(had.begin(), had.end(), expert)) continue;
      const auto sent = [&](int host) {  // a copy to another node takes longer than any number here
        const bool near = shape.node_of(host) == shape.node_of(rank);
        return std::pair(!near, far_sent[at(host)] * kFarCopies + near_sent[at(host)]);
      };
      CopyMove move{.expert = expert, .from = -1, .to = rank};
      for (const std::int32_t host : before.hosts_of(expert)) {
        if (move.from < 0 || sent(host) < sent(move.from)) move.from = host;
      }
      if (move.from >= 0) {
        const bool near = shape.node_of(move.from) == shape.node_of(rank);
        ++(near ? near_sent : far_sent)[at(move.from)];
      }
      moves.push_back(move);
    }
  }
  return moves;
}

Placement keep_near(const Placement& before, const Placement& after, const MachineShape& shape) {
  const auto ranks = at(after.ranks());
  const auto in_common = [&](std::size_t rank, std::size_t list) {
    std::int64_t count = 0;
    const auto had = before.experts_of(static_cast<int>(rank));
    for (const std::int32_t expert : after.experts_of(static_cast<int>(list))) {
      if (std::binary_search(had.begin(), had.end(), expert)) ++count;
    }
    return count;
  };
  struct Match {
    std::int64_t common = 0;
    std::size_t rank = 0;
    std::size_t list = 0;
  };
  std::vector<Match> matches;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    for (std::size_t list = 0; list < ranks; ++list) {
      if (shape.node_of(static_cast<int>(rank)) != shape.node_of(static_cast<int>(list))) continue;
      matches.push_back({.common = in_common(rank, list), .rank = rank, .list = list});
    }
  }
  // Of equal ones a list stays with its own rank.
  std::ranges::stable_sort(matches, [](const Match& a, const Match& b) {
    return std::pair(-a.common, a.rank != a.list) < std::pair(-b.common, b.rank != b.list);
  });
  std::vector<std::vector<std::int32_t>> lists(ranks);
  std::vector<bool> has(ranks, false);
  std::vector<bool> taken(ranks, false);
  for (const Match& match : matches) {
    if (has[match.rank] || taken[match.list]) continue;
    const auto experts = after.experts_of(static_cast<int>(match.list));
    lists[match.rank].assign(experts.begin(), experts.end());
    has[match.rank] = taken[match.list] = true;
  }
  return Placement::from_lists(std::move(lists), after.experts());
}

Migration migration_of(const Placement& before, const Placement& after, const MachineShape& shape,
                       double expert_bytes, const Links& links) {
  Migration migration;
  migration.sent_s.assign(at(shape.ranks), 0.0);
  migration.received_s.assign(at(shape.ranks), 0.0);
  for (const CopyMove& move : moves_between(before, after, shape)) {
    const bool near = move.from >= 0 && shape.node_of(move.from) == shape.node_of(move.to);
    const double seconds = expert_bytes / (near ? links.node : links.fabric);
    ++(near ? migration.copies_in_node : migration.copies_across);
    migration.received_s[at(move.to)] += seconds;
    if (move.from >= 0) migration.sent_s[at(move.from)] += seconds;
  }
  return migration;
}
}  // namespace switchyard::runtime
