// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What no placement can do better than.
#include <span>

#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

/// Rows of the busiest rank that no placement goes below, however the rows of an expert are split
/// over its copies. The largest of three bounds (README.md proves them): the mean over ranks; what
/// the slots allow in copies; what experts without a copy weigh when several must share a rank.
/// @param rows  [experts]
[[nodiscard]] double least_worst(std::span<const double> rows, const MachineShape& shape);
}  // namespace switchyard::runtime
