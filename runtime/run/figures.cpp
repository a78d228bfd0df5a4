// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/figures.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "comm/group/collective.hpp"
#include "experts/kernels/dispatch.hpp"
#include "runtime/report/digest.hpp"

namespace switchyard::runtime {

void sum_up(comm::Group& group, const Coordinator& coordinator, double seconds, double load_s,
            RunResult& result) {
  const LayerStats stats = coordinator.stats();
  double weight_bytes = 0;
  for (std::size_t i = 0; i < coordinator.layers(); ++i) {
    weight_bytes += static_cast<double>(coordinator.layer(i).weight_bytes());
  }
  std::vector<double> mine{seconds,
                           load_s,
                           weight_bytes,
                           static_cast<double>(stats.arrived),
                           static_cast<double>(stats.planned.slots),
                           static_cast<double>(stats.planned.dropped),
                           static_cast<double>(stats.planned.identity),
                           static_cast<double>(stats.planned.rows_out),
                           static_cast<double>(stats.logical_bytes),
                           static_cast<double>(stats.wire_bytes),
                           stats.task_seconds};
  const std::size_t first_phase = mine.size();
  for (std::size_t p = 0; p < kNumPhases; ++p) {
    const double wall = stats.phases.seconds[p];
    const double waiting = stats.phases.waiting[p];
    mine.insert(mine.end(), {wall, wall - waiting, waiting});
  }
  const auto all = comm::allgather_values<double>(group, mine);
  const auto largest = [&](std::size_t i) {
    double found = 0;
    for (const auto& rank : all) found = std::max(found, rank[i]);
    return found;
  };
  const auto sum = [&](std::size_t i) {
    double found = 0;
    for (const auto& rank : all) found += rank[i];
    return found;
  };
  const double steps = static_cast<double>(std::max<std::int64_t>(result.steps, 1));
  const double ranks = static_cast<double>(group.size());
  result.seconds = largest(0);
  result.load_s = largest(1);
  result.weight_bytes = largest(2);
  result.tokens_per_s =
      result.seconds > 0 ? static_cast<double>(result.all_tokens) / result.seconds : 0;
  result.rows_max = largest(3) / steps;
  result.rows_mean = sum(3) / ranks / steps;
  result.rows_min = result.rows_max;
  for (const auto& rank : all) result.rows_min = std::min(result.rows_min, rank[3] / steps);
  result.balancedness = result.rows_max > 0 ? result.rows_mean / result.rows_max : 1;
  result.compute_imbalance = sum(10) > 0 ? largest(10) * ranks / sum(10) : 1;
  result.slots = sum(4) / steps;
  result.dropped = sum(5) / steps;
  result.identity = sum(6) / steps;
  result.rows_out = sum(7) / steps;
  result.logical_bytes = sum(8) / steps;
  result.wire_bytes = sum(9) / steps;
  const auto step_s = comm::allgather_values<double>(group, result.step_s);
  for (const auto& rank : step_s) {
    for (std::size_t i = 0; i < result.step_s.size(); ++i) {
      result.step_s[i] = std::max(result.step_s[i], rank[i]);
    }
  }
  for (std::size_t p = 0; p < kNumPhases; ++p) {
    const std::size_t wall = first_phase + 3 * p;
    const auto slowest = [&](std::size_t i) { return largest(i) * 1e3 / steps; };
    const auto mean = [&](std::size_t i) { return sum(i) * 1e3 / ranks / steps; };
    result.phases.push_back({.name = std::string(kPhaseNames[p]),
                             .slowest_rank_ms = slowest(wall),
                             .mean_ms = mean(wall),
                             .slowest_rank_work_ms = slowest(wall + 1),
                             .mean_work_ms = mean(wall + 1),
                             .slowest_rank_wait_ms = slowest(wall + 2),
                             .mean_wait_ms = mean(wall + 2)});
  }
}

std::int64_t count_non_finite(comm::Group& group, const experts::Matrix& output) {
  std::int64_t mine = 0;
  for (std::int64_t t = 0; t < output.rows(); ++t) {
    for (const float value : output.row(t)) mine += std::isfinite(value) ? 0 : 1;
  }
  std::int64_t sum = 0;
  for (const auto& rank : comm::allgather_values<std::int64_t>(group, std::span(&mine, 1))) {
    sum += rank[0];
  }
  return sum;
}

RunResult describe_run(const RunJob& job, const RunSettings& settings,
                       const Coordinator& coordinator, int ranks) {
  RunResult result;
  result.model = job.model->name();
  result.router = experts::describe(job.block.router);
  result.transport = coordinator.layer(0).transport();
  result.node_queue = coordinator.layer(0).shares_work();
  const comm::ExchangeChoice& choice = coordinator.layer(0).choice();
  result.exchange = choice.why;
  if (result.transport == "two-level") result.wire = comm::name_of(choice.options.wire);
  if (result.wire != "float32") {
    result.invariance =
        result.wire + " between nodes, " + std::string(comm::bound_of(choice.options.wire));
  }
  result.isa = experts::name_of(job.options.isa);
  result.weights = experts::name_of(job.options.stored);
  result.math = experts::name_of(job.options.math);
  result.math_name = experts::math_name(job.options.isa, job.options.math, job.options.stored);
  result.routing = settings.routing;
  result.gathers = experts::needs_whole_batch(job.block.router);
  if (job.options.rank_local_rule && experts::needs_whole_batch(job.block.router)) {
    if (!result.invariance.empty()) result.invariance += "; ";
    result.invariance += "capacity over each rank's own tokens";
  }
  if (job.options.presum) {
    result.invariance += result.invariance.empty() ? "" : "; ";
    result.invariance += "results of a token summed by rank";
  }
  result.ranks = ranks;
  result.idle_ranks = job.placement->idle_ranks();
  result.layers = settings.layers;
  result.tokens = job.tokens;
  result.steps = settings.steps;
  return result;
}

std::string digest_output(comm::Group& group, const experts::Matrix& output,
                          const std::function<void(std::span<const std::byte>)>& sink) {
  Sha256 digest;
  rows_to_root(group, output.view(), [&](std::span<const std::byte> bytes) {
    digest.add(bytes);
    if (sink) sink(bytes);
  });
  const std::string hex = digest.hex();
  const auto shared = comm::broadcast(group, std::as_bytes(std::span(hex)));
  return {reinterpret_cast<const char*>(shared.data()), shared.size()};
}
}  // namespace switchyard::runtime
