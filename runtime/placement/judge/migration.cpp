// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/judge/migration.hpp"

#include <algorithm>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
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

Migration migration_of(const Placement& before, const Placement& after, const MachineShape& shape,
                       double expert_bytes, const Links& links) {
  Migration migration;
  migration.sent_s.assign(at(shape.ranks), 0.0);
  migration.received_s.assign(at(shape.ranks), 0.0);
  for (int rank = 0; rank < after.ranks(); ++rank) {
    const auto had = before.experts_of(rank);
    for (const std::int32_t expert : after.experts_of(rank)) {
      if (std::binary_search(had.begin(), had.end(), expert)) continue;
      int from = -1;
      for (const std::int32_t host : before.hosts_of(expert)) {
        const bool near = shape.node_of(host) == shape.node_of(rank);
        const bool was_near = from >= 0 && shape.node_of(from) == shape.node_of(rank);
        if (from < 0 || (near && !was_near) ||
            (near == was_near && migration.sent_s[at(host)] < migration.sent_s[at(from)])) {
          from = host;
        }
      }
      const bool near = from >= 0 && shape.node_of(from) == shape.node_of(rank);
      const double seconds = expert_bytes / (near ? links.node : links.fabric);
      ++(near ? migration.copies_in_node : migration.copies_across);
      migration.received_s[at(rank)] += seconds;
      if (from >= 0) migration.sent_s[at(from)] += seconds;
    }
  }
  return migration;
}
}  // namespace switchyard::runtime
