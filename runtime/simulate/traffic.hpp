// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// MoE layers whose rows have no contents: routing, plan and exchange are the code that runs for
/// real, and what computing would take is asked of a machine instead of done.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "comm/group/group.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/report/phases.hpp"
#include "runtime/report/timeline.hpp"
#include "runtime/run/job.hpp"
#include "runtime/run/run.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

/// What all ranks share; made once, for they are in one process.
struct TrafficJob {
  const RunSettings& settings;
  const Machine& machine;
  const RunJob& job;
  std::string transport;  ///< "p2p" or "relay"
  int window = 0;         ///< frames that are under way at a time; 0: as in a real run
  experts::DType weights = experts::DType::kFloat32;  ///< that the machine's rates are asked for
  bool compute = true;                                ///< false: computing takes no time
  /// What if every rank computed as many rows as every other?
  bool balanced = false;
  /// What if a row went to a rank once for each expert that it has there?
  bool deduplicate = true;
};

/// What one rank counted, in all counted steps together.
struct RankTraffic {
  PhaseTimes phases;
  PlanCounts planned;
  std::int64_t arrived = 0;     ///< (token, slot) rows that its experts would compute
  std::int64_t wire_bytes = 0;  ///< that left this rank
  std::int64_t between_nodes_bytes = 0;
  std::int64_t messages = 0;
  double compute_s = 0;             ///< in experts
  double begin_s = 0;               ///< of the first counted step, in simulated time
  std::vector<double> layer_end_s;  ///< [counted steps, layers]
};

/// One rank's part of all steps. Collective.
/// @param pass  lets so many seconds of simulated time pass
/// @param now   in simulated seconds
/// @param timeline  of this rank's counted steps; null: nobody wants to know
[[nodiscard]] RankTraffic carry_traffic(comm::Group& group, const TrafficJob& job,
                                        const std::function<void(double)>& pass,
                                        const std::function<double()>& now,
                                        Timeline* timeline = nullptr);

/// How long layers took, from the end of one on its last rank to that of the next.
struct LayerTimes {
  double least_s = 0;
  double mean_s = 0;
  double most_s = 0;
};
[[nodiscard]] LayerTimes layer_times(const std::vector<RankTraffic>& ranks);

/// The figures of a run, made of what its ranks counted. Layers of the settings that were not
/// simulated take as long as the mean of those that were.
/// @param layers  of the model that the run stands for, at least settings.layers
[[nodiscard]] RunResult sum_up(const TrafficJob& job, const std::vector<RankTraffic>& ranks,
                               std::int64_t layers);
}  // namespace switchyard::runtime
