// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/run.hpp"

#include <algorithm>
#include <chrono>
#include <string>

#include "runtime/run/figures.hpp"
#include "runtime/run/job.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}  // namespace

RunResult run(comm::Group& group, const RunSettings& settings, const RunHooks& hooks) {
  RunJob job;
  together(group, [&] { job = prepare_job(settings, group.rank(), group.size()); });
  settle_packing(group, settings, job, hooks.warn);
  TraceRecorder recorder(group, job.options.threads, settings.trace_events);
  job.options.timeline = recorder.timeline();
  const auto numbers = job.model->moe_layers();
  const auto loading = std::chrono::steady_clock::now();
  Coordinator coordinator = load_layers(group, job, numbers);
  const double load_s = seconds_since(loading);

  RunResult result = describe_run(job, settings, coordinator, group.size());
  if (hooks.warn && result.idle_ranks > 0) {
    hooks.warn(std::to_string(result.idle_ranks) + " of " + std::to_string(result.ranks) +
               " ranks hold no expert and only route their tokens");
  }

  const TokenShare share = share_of(job.tokens, group.rank(), group.size());
  const auto given = given_routing(settings, job.block.router, share);
  experts::Matrix tokens(share.count, job.block.router.hidden);
  experts::Matrix output;
  double seconds = 0;
  for (std::int64_t i = -settings.warmup; i < settings.steps; ++i) {
    const std::int64_t step = std::max<std::int64_t>(i, 0);
    if (hooks.progress) hooks.progress(i + settings.warmup, settings.steps + settings.warmup);
    if (i == 0) coordinator.reset_stats();
    if (i == 0) recorder.start();
    together(group, [&] { job.source->read(step, job.tokens, share.first, tokens.view()); });
    const auto start = std::chrono::steady_clock::now();
    output = coordinator.step(step, share.first, tokens.view(), given);
    if (i >= 0) seconds += seconds_since(start);
  }
  if (hooks.progress) {
    hooks.progress(settings.steps + settings.warmup, settings.steps + settings.warmup);
  }
  result.trace = recorder.finish(hooks.trace);
  sum_up(group, coordinator, seconds, load_s, result);
  result.packing =
      report_packing(group, coordinator.packing(), job.options.pack_cache.get(), result.seconds);
  if (hooks.warn && result.packing.as_needed > 0) hooks.warn(describe(result.packing));

  result.non_finite = count_non_finite(group, output);
  if (hooks.warn && result.non_finite > 0) {
    hooks.warn(std::to_string(result.non_finite) + " values of the output are not finite");
  }
  result.output_digest = digest_output(group, output, hooks.output);
  return result;
}
}  // namespace switchyard::runtime
