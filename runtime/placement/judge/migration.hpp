// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What it takes to get from one placement to another.
#include <cstdint>
#include <vector>

#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

/// What a rank sends or receives at once, in bytes a second; both directions at a time.
struct Links {
  double node = 200e9;   ///< to other ranks of its node
  double fabric = 50e9;  ///< to other nodes
};

/// Copies that a rank gets and had not: from a rank of its node if one has the expert, else from
/// another; of several the one that has sent least. Dropping a copy costs nothing.
struct Migration {
  std::int64_t copies_in_node = 0;
  std::int64_t copies_across = 0;
  std::vector<double> sent_s;      ///< [ranks], in copies x seconds a copy of each tier
  std::vector<double> received_s;  ///< [ranks]
  [[nodiscard]] std::int64_t copies() const { return copies_in_node + copies_across; }
  /// Seconds until the last rank is done, if nothing else is on the links.
  [[nodiscard]] double stall_s() const;
  Migration& operator+=(const Migration& other);
};

/// @param expert_bytes  of one copy
[[nodiscard]] Migration migration_of(const Placement& before, const Placement& after,
                                     const MachineShape& shape, double expert_bytes,
                                     const Links& links);
}  // namespace switchyard::runtime
