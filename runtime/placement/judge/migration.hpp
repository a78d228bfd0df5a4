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

/// A copy that a rank gets and had not.
struct CopyMove {
  std::int32_t expert = 0;
  int from = -1;  ///< who has one; -1: nobody
  int to = 0;
};
/// By rising receiver and expert; from a rank of its node if one has the expert, else from another;
/// of several the one that sends least.
[[nodiscard]] std::vector<CopyMove> moves_between(const Placement& before, const Placement& after,
                                                  const MachineShape& shape);

/// The same placement but for which rank of a node has which list of experts: as many as can be
/// found one list after the other stay where they are. Changes no rank's load where copies share
/// rows evenly.
[[nodiscard]] Placement keep_near(const Placement& before, const Placement& after,
                                  const MachineShape& shape);

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
