// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/serve_run.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "comm/group/collective.hpp"
#include "runtime/run/figures.hpp"
#include "runtime/run/job.hpp"
#include "runtime/serve/spare.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void require_stateless(const RunSettings& settings) {
  if (settings.stateful) {
    throw std::invalid_argument("--stateful: got it with --serve, want one of them");
  }
  if (settings.rebalance.on()) {
    throw std::invalid_argument("--rebalance: got " + settings.rebalance.policy +
                                " with --serve, want one of them");
  }
  if (Placement::layered(settings.placement)) {
    throw std::invalid_argument(
        "--placement: got layers with placements of their own with --serve, want one for all");
  }
  if (settings.trace_events > 0) {
    throw std::invalid_argument("--trace: got it with --serve, want one of them");
  }
}

/// A run that is served, on one rank.
class Serving {
 public:
  Serving(comm::Membership& membership, comm::EnduringGroup& group, const RunSettings& settings,
          const ServeSettings& serve, const ServeHooks& hooks, RunJob job)
      : membership_(membership),
        group_(group),
        settings_(settings),
        hooks_(hooks),
        job_(std::move(job)),
        total_(settings.warmup + settings.steps),
        plan_(job_.placement.value()) {
    if (!group.takes_part()) {
      job_.placement = spare_placement(job_.block.router.experts);
    }
    WeightOrigin origin{
        .sources = job_.weights, .spec = job_.block.expert, .stored = job_.options.stored};
    const Clock::time_point start = Clock::now();
    coordinator_.emplace(load_layers(group, job_, job_.model->moe_layers()));
    load_s_ = ms_since(start) / 1e3;
    std::vector<MoeLayer*> layers;
    for (std::size_t i = 0; i < coordinator_->layers(); ++i) {
      layers.push_back(&coordinator_->layer(i));
    }
    mark_.emplace(layers);
    const auto mine = job_.placement->experts_of(group.rank());
    crew_.emplace(
        membership, group,
        KeptLayers{.layers = layers, .engine = &layers[0]->engine(), .origin = std::move(origin)},
        std::vector<std::int32_t>(mine.begin(), mine.end()), serve.reload, hooks.note);
  }

  int serve() {
    membership_.expect_signs();
    std::int64_t step = group_.takes_part() ? 0 : Keeper::kNoStep;
    step_began_ = Clock::now();
    while (true) {
      try {
        if (!group_.takes_part()) {
          if (const auto status = crew_->wait(plan_)) return *status;
          step_began_ = Clock::now();
        }
        step = crew_->settle(step);
        while (step < total_) {
          if (hooks_.progress) hooks_.progress(step, total_);
          const std::vector<int> loading = one_step(step);
          step_began_ = Clock::now();
          ++step;
          if (Keeper::all_ready(loading)) step = crew_->settle(step);
        }
        return finish();
      } catch (const comm::MembershipChanged&) {
        crew_->change(std::min(step, total_ - 1));
        // What was finished here may be lost with those who had it: the last step's rows are.
        if (step == total_) step = total_ - 1;
      } catch (const comm::CollectiveError& error) {
        return leave_together(membership_, group_, [&] {
          if (hooks_.failed) hooks_.failed(error.what());
          return error.status();
        });
      }
    }
  }

 private:
  /// One step over all layers, and everybody's word that it is over.
  std::vector<int> one_step(std::int64_t step) {
    group_.check();
    const std::int64_t of_tokens = std::max<std::int64_t>(step - settings_.warmup, 0);
    const TokenShare share = share_of(job_.tokens, group_.rank(), group_.size());
    if (tokens_.rows() != share.count || tokens_.cols() == 0) {
      tokens_ = experts::Matrix(share.count, job_.block.router.hidden);
    }
    job_.source->read(of_tokens, job_.tokens, share.first, tokens_.view());
    mark_->set();
    output_ = coordinator_->step(of_tokens, share.first, std::as_const(tokens_).view(),
                                 given_routing(settings_, job_.block.router, share));
    StepPart part = mark_->since();
    part.fingerprint = fingerprint(std::as_const(output_).view(), share.first);
    part.loading = crew_->keeper().loading();
    const std::vector<int> loading =
        crew_->account().close(group_, step, part, ms_since(step_began_));
    if (step >= settings_.warmup) seconds_ += ms_since(step_began_) / 1e3;
    return loading;
  }

  /// Everybody's figures and rows, shown by the lowest rank that is left.
  int finish() {
    RunResult result = describe_run(job_, settings_, *coordinator_, group_.size());
    double weight_bytes = 0;
    for (std::size_t i = 0; i < coordinator_->layers(); ++i) {
      weight_bytes += static_cast<double>(coordinator_->layer(i).weight_bytes());
    }
    const std::vector<double> mine{seconds_, load_s_, weight_bytes};
    for (const auto& rank : comm::allgather_values<double>(group_, std::span(mine))) {
      result.seconds = std::max(result.seconds, rank[0]);
      result.load_s = std::max(result.load_s, rank[1]);
      result.weight_bytes = std::max(result.weight_bytes, rank[2]);
    }
    result.tokens_per_s = result.seconds > 0
                              ? static_cast<double>(result.tokens) *
                                    static_cast<double>(result.steps) / result.seconds
                              : 0;
    const ServeReport report = crew_->report();
    result.non_finite = count_non_finite(group_, output_);
    if (hooks_.output_begin && group_.rank() == 0) hooks_.output_begin();
    result.output_digest = digest_output(group_, output_, hooks_.output);
    comm::barrier(group_);
    return leave_together(membership_, group_, [&] { return hooks_.finish(result, report); });
  }

  comm::Membership& membership_;
  comm::EnduringGroup& group_;
  const RunSettings& settings_;
  const ServeHooks& hooks_;
  RunJob job_;
  std::int64_t total_;
  Placement plan_;  ///< as the job began
  std::optional<Coordinator> coordinator_;
  double load_s_ = 0;
  std::optional<StepMark> mark_;
  std::optional<Crew> crew_;
  experts::Matrix tokens_;
  experts::Matrix output_;
  Clock::time_point step_began_;
  double seconds_ = 0;  ///< of counted steps, interruptions included
};
}  // namespace

int serve_run(comm::Group& base, const RunSettings& settings, const ServeSettings& serve,
              const ServeHooks& hooks) {
  comm::Membership membership(base, serve.spares, serve.silence);
  comm::EnduringGroup group(base, membership);
  RunJob job;
  together(base, [&] {
    require_servable(settings.layer);
    require_stateless(settings);
    job = prepare_job(settings, group.takes_part() ? group.rank() : 0, membership.workers());
    serve_layers(job.options);
  });
  load_apart(base, [&] {
    if (group.takes_part()) settle_packing(group, settings, job, {});
  });
  together(base, [&] {
    if (!job.options.pack_budget) return;
    throw std::invalid_argument(
        "--pack: got experts that are packed as needed with --serve, want --pack eager");
  });
  std::optional<Serving> serving;
  load_apart(base,
             [&] { serving.emplace(membership, group, settings, serve, hooks, std::move(job)); });
  if (hooks.loaded) hooks.loaded();
  comm::barrier(base);
  const comm::Observing observing(group.deadline(), hooks.observer);
  if (hooks.ready) hooks.ready();
  return serving->serve();
}
}  // namespace switchyard::runtime
