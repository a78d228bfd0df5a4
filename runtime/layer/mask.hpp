// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Takes experts that no rank has out of a routing, and counts what that costs.
#include "experts/router/routing.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/report/layer_stats.hpp"

namespace switchyard::runtime {

/// Slots of experts without a host become dropped ones. The weights of the others stay as they are:
/// a sum that lacks a part is not made up for.
/// @param stats  counts slots by expert, and tokens with such a slot
void mask_lost(const Placement& placement, experts::Routing& routing, LayerStats& stats);
/// The routing itself where nothing is lost; else a copy of it in `room`, masked.
[[nodiscard]] const experts::Routing& without_lost(const Placement& placement,
                                                   const experts::Routing& routing,
                                                   experts::Routing& room, LayerStats& stats);
}  // namespace switchyard::runtime
