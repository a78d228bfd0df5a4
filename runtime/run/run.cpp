// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/run.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "runtime/rebalance/rebalancer.hpp"
#include "runtime/run/figures.hpp"
#include "runtime/run/job.hpp"
#include "runtime/run/recording.hpp"
#include "runtime/run/saving.hpp"
#include "runtime/state/run_state.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What a rank tells the others between two steps.
struct StepNote {
  std::uint64_t digest = 0;  ///< its part of the step that is over
  std::uint64_t stop = 0;    ///< 1: it has been asked to leave
  std::uint64_t saving = 0;  ///< 1: a save is still under way
};

/// All parts together. @param notes  each a StepNote
StepNote sum_of(const std::vector<std::vector<std::byte>>& notes) {
  StepNote sum;
  for (const auto& bytes : notes) {
    StepNote note;
    std::memcpy(&note, bytes.data(), std::min(sizeof note, bytes.size()));
    sum.digest += note.digest;
    sum.stop |= note.stop;
    sum.saving |= note.saving;
  }
  return sum;
}

/// Puts the layers' weights into the hands of a state. @return  null: they stay as they are
std::unique_ptr<RunState> take_state(const RunSettings& settings, RunJob& job,
                                     std::span<const std::int64_t> numbers, int rank) {
  if (!settings.stateful) return nullptr;
  auto state = std::make_unique<RunState>(*job.placement, rank);
  for (std::size_t i = 0; i < job.weights.size(); ++i) {
    job.weights[i] = state->add(job.block, numbers[i], std::move(job.weights[i]));
  }
  return state;
}

/// Where the experts of a run are that went on from a saved step.
void take_placements(const RunState& state, RunJob& job) {
  job.of_layers.clear();
  for (std::size_t i = 0; i < state.layers().size(); ++i) {
    job.of_layers.push_back(state.placement(i));
  }
  job.placement = job.of_layers.front();
}
}  // namespace

RunResult run(comm::Group& group, const RunSettings& settings, const RunHooks& hooks) {
  RunJob job;
  together(group, [&] { job = prepare_job(settings, group.rank(), group.size()); });
  settle_packing(group, settings, job, hooks.warn);
  TraceRecorder recorder(group, job.options.threads, settings.trace_events);
  job.options.timeline = recorder.timeline();
  const auto numbers = job.model->moe_layers();
  const auto recording = record_routing(group, settings, job);
  const auto loading = std::chrono::steady_clock::now();
  std::unique_ptr<RunState> state;
  together(group, [&] { state = take_state(settings, job, numbers, group.rank()); });
  std::unique_ptr<Saving> saving;
  std::int64_t first = 0;  // steps that an earlier start has done
  if (state && !settings.save.to.empty()) {
    saving = std::make_unique<Saving>(group, settings, job, *state, hooks.warn, hooks.fails);
    first = saving->resume();
    if (first > 0) take_placements(*state, job);
  }
  if (state && first == 0) together(group, [&] { state->begin(); });
  if (saving) together(group, [&] { saving->make_room(); });
  Coordinator coordinator = load_layers(group, job, numbers);
  const double load_s = seconds_since(loading);
  if (recording) listen(*recording, coordinator);
  std::unique_ptr<Rebalancer> rebalancer;
  if (settings.rebalance.on()) {
    rebalancer = std::make_unique<Rebalancer>(
        group, settings.rebalance,
        MovingLayers{
            .layers = &coordinator, .state = state.get(), .threads = settings.layer.threads},
        saving ? saving->placement_epoch() : 0, hooks.warn);
  }

  RunResult result = describe_run(job, settings, coordinator, group.size());
  result.first_step = first;
  result.steps = settings.steps - first;
  result.step_s.reserve(std::min(at(result.steps), kMostStepTimes));
  if (hooks.warn && result.idle_ranks > 0) {
    hooks.warn(std::to_string(result.idle_ranks) + " of " + std::to_string(result.ranks) +
               " ranks hold no expert and only route their tokens");
  }

  if (hooks.warn) describe_replay(settings, job, hooks.warn);
  experts::Matrix tokens;
  experts::Matrix output;
  double seconds = 0;
  double state_s = 0;
  StepNote note;
  std::vector<std::byte> words;
  const std::int64_t warmup = first > 0 ? 0 : settings.warmup;
  for (std::int64_t i = first - warmup;; ++i) {
    const bool over = i == settings.steps;
    if (hooks.progress) hooks.progress(i + warmup, settings.steps + warmup);
    if (i == first) coordinator.reset_stats();
    if (i == first && rebalancer) rebalancer->begin_counting();
    if (i == first) recorder.start();
    if (over && !state) break;
    const std::int64_t step = std::max(i, first);
    const std::int64_t all_tokens = tokens_of(job, step);
    const TokenShare share = share_of(all_tokens, group.rank(), group.size());
    tokens.reshape(share.count, job.block.router.hidden);
    note.stop = hooks.stop && hooks.stop() ? 1 : 0;
    note.saving = saving && saving->go_on() ? 1 : 0;
    const auto own = std::as_bytes(std::span(&note, 1));
    words.assign(own.begin(), own.end());
    if (rebalancer) rebalancer->say(words);
    const auto notes = together(group, words, [&] {
      if (!over) job.source->read(step, all_tokens, share.first, tokens.view());
    });
    const StepNote all = sum_of(notes);
    if (state && i > first) {
      const auto start = std::chrono::steady_clock::now();
      const StepKey key{.seed = settings.seed, .step = i - 1, .digest = all.digest};
      state->change(key, coordinator);
      state_s += seconds_since(start);
      if (rebalancer) rebalancer->changed(key);
    }
    if (over) break;
    if (all.stop != 0) {
      if (rebalancer) rebalancer->finish();
      if (saving) {
        saving->leave(step, coordinator, "");
        result.saving = saving->report();
      }
      result.stopped = true;
      result.steps = step - first;
      return result;
    }
    const auto start = std::chrono::steady_clock::now();
    if (rebalancer && rebalancer->turn(notes, sizeof note, i) && saving) {
      saving->moved(rebalancer->epoch(), rebalancer->placements());
    }
    if (saving && i > first) saving->between(i, coordinator, all.saving != 0);
    {
      const comm::WhileWaiting meanwhile(group.deadline(),
                                         rebalancer ? rebalancer->spare() : nullptr);
      output =
          coordinator.step(step, share.first, tokens.view(), given_routing(settings, job, share));
    }
    if (rebalancer) rebalancer->count();
    if (state) note.digest = step_digest(share.first, output.view());
    const double step_s = seconds_since(start);
    if (i >= first) seconds += step_s;
    if (i >= first && result.step_s.size() < kMostStepTimes) result.step_s.push_back(step_s);
    if (i >= first) result.all_tokens += all_tokens;
    if (recording) record_step(*recording, share, step, i >= first);
  }
  seconds += state_s;
  if (rebalancer) {
    rebalancer->finish();
    result.rebalance = rebalancer->report();
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
  result.output_digest = saving && !saving->output_digest().empty()
                             ? saving->output_digest()
                             : digest_output(group, output, hooks.output);
  if (saving) {
    saving->leave(settings.steps, coordinator, result.output_digest);
    result.saving = saving->report();
  }
  if (state) {
    result.state_digest = state->digest(group);
    for (const auto& rank : comm::allgather_values<double>(group, std::span(&state_s, 1))) {
      result.state_ms =
          std::max(result.state_ms,
                   rank[0] * 1e3 / static_cast<double>(std::max<std::int64_t>(result.steps, 1)));
    }
  }
  result.stateful = settings.stateful;
  if (recording) {
    recording->finish();
    result.recorded_bytes = recording->bytes();
  }
  return result;
}
}  // namespace switchyard::runtime
