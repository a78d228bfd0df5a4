// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Cuts a plan by experts, so that the first experts of every rank can work while rows for the
/// others are on their way, and their results leave before the others are computed.
#include <cstdint>
#include <vector>

#include "runtime/layer/plan.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

/// The stage of expert `local` of the `experts` on a rank: consecutive experts, as equal parts as
/// there can be, in [0, stages). Sender and receiver cut alike.
[[nodiscard]] constexpr int stage_of(std::int64_t local, std::int64_t experts, int stages) {
  return static_cast<int>(local * stages / experts);
}
/// The first expert of a stage; `experts` for stage `stages`.
[[nodiscard]] constexpr std::int64_t first_of_stage(int stage, std::int64_t experts, int stages) {
  return (stage * experts + stages - 1) / stages;
}

/// Keeps its memory from plan to plan.
class StageCutter {
 public:
  /// Orders what every rank gets by stage, and within a stage as it was: results by the stage of
  /// their expert, rows by the first stage that needs them. Fills the offer's stages. An expert
  /// still sees its rows in the order of tokens, so no bit of a result changes.
  void cut(DispatchPlan& plan, const Placement& placement, int stages);

 private:
  std::vector<Entry> entries_;        ///< of one rank
  std::vector<Entry> sorted_;         ///< the same by stage
  std::vector<std::int64_t> slots_;   ///< of one rank, by stage
  std::vector<std::int64_t> rows_;    ///< of one rank, by first need
  std::vector<std::int32_t> number_;  ///< new number of each row of one rank
};
}  // namespace switchyard::runtime
