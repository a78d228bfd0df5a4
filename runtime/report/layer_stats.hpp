// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a layer counts while it works, on one rank.
#include <cstdint>
#include <vector>

#include "runtime/report/phases.hpp"

namespace switchyard::runtime {

/// Rows counted while planning.
struct PlanCounts {
  std::int64_t tokens = 0;
  std::int64_t slots = 0;     ///< as routed: dropped and identity slots included
  std::int64_t dropped = 0;   ///< by a capacity rule, or masked: see LayerStats::masked
  std::int64_t identity = 0;  ///< computed at home, never sent
  std::int64_t computed = 0;  ///< (token, slot) pairs that an expert computes
  std::int64_t rows = 0;      ///< rows named to ranks, own rank included, after deduplication
  std::int64_t rows_out = 0;  ///< of these, to other ranks

  PlanCounts& operator+=(const PlanCounts& other);
};

/// Summed since the last reset, for this rank.
struct LayerStats {
  PhaseTimes phases;
  PlanCounts planned;              ///< what this rank's tokens asked for
  std::int64_t arrived = 0;        ///< (token, slot) rows that this rank's experts computed
  std::int64_t logical_bytes = 0;  ///< every computed (token, slot) out and back, own rank included
  double task_seconds = 0;         ///< of processor, in experts' tasks, whoever's they were
  double pack_seconds = 0;         ///< of this rank's time, packing experts that tasks needed
  std::int64_t wire_bytes = 0;     ///< that left this rank, headers and notes included
  std::vector<std::int64_t> load;  ///< [all experts], slots that this rank's tokens sent to each

  std::vector<std::int64_t> masked;  ///< [experts], slots of each whose expert had no host
  std::int64_t masked_tokens = 0;    ///< with such a slot

  std::vector<std::int64_t> computed;  ///< [experts], rows that this rank computed for each

  LayerStats& operator+=(const LayerStats& other);
};
}  // namespace switchyard::runtime
