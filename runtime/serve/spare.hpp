// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How a rank waits to be needed, and how ranks leave when some may be gone.
#include <chrono>
#include <functional>
#include <optional>

#include "comm/endure/enduring_group.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/serve/keeper.hpp"

namespace switchyard::runtime {

/// What a spare has waited for.
struct SpareCall {
  std::optional<int> status;  ///< with which the others have left; none: it may join
  int place = -1;             ///< of which rank
  std::chrono::steady_clock::time_point needed{};  ///< since when
  double load_s = 0;
};

/// Waits until a rank is lost and loads what that rank had; nothing is sent meanwhile.
/// @param plan  who had what at the start
[[nodiscard]] SpareCall wait_as_spare(comm::Membership& membership, const Placement& plan,
                                      Keeper& keeper);

/// The lowest rank shows the result; the others wait until it has, and leave with its status.
/// @param show  called there
/// @throws comm::MembershipChanged  it was lost before it had
int leave_together(comm::Membership& membership, comm::EnduringGroup& group,
                   const std::function<int()>& show);
}  // namespace switchyard::runtime
