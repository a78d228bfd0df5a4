// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/run.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "comm/collective.hpp"
#include "experts/kernels/dispatch.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/run/token_source.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What every rank finds out for itself before the first collective of the run.
struct Prepared {
  std::optional<Checkpoint> checkpoint;
  std::optional<Model> model;
  experts::BlockSpec block;
  std::optional<Placement> placement;
  std::unique_ptr<TokenSource> source;
  std::vector<std::unique_ptr<experts::WeightSource>> weights;
  LayerOptions options;
  std::int64_t tokens = 0;
};

experts::DType stored_type(const RunSettings& settings, const Prepared& run) {
  if (settings.weights != "auto") return experts::dtype_from(settings.weights);
  if (settings.checkpoint.empty()) return experts::DType::kFloat32;
  const experts::DType first = own_type(*run.weights[0], run.block.router.experts);
  for (const auto& block : run.weights) {
    if (own_type(*block, run.block.router.experts) != first) return experts::DType::kFloat32;
  }
  return first;
}

/// Tokens, outputs and, for every slot, a row out and a result back.
double row_bytes(const Prepared& run, int rank, int ranks) {
  const double rows = static_cast<double>(share_of(run.tokens, rank, ranks).count) *
                      static_cast<double>(3 + 2 * run.block.router.top_k);
  return rows * static_cast<double>(run.block.router.hidden) * sizeof(float);
}

/// Refuses before anything is allocated what would end in the kernel killing the job.
void require_rows_fit(const RunSettings& settings, const Prepared& run, int rank, int ranks) {
  const double bytes = row_bytes(run, rank, ranks);
  if (settings.memory_bytes == 0 || bytes <= static_cast<double>(settings.memory_bytes)) return;
  const auto most = static_cast<std::int64_t>(static_cast<double>(run.tokens) *
                                              static_cast<double>(settings.memory_bytes) / bytes);
  throw std::invalid_argument("--tokens: got " + std::to_string(run.tokens) +
                              ", want at most about " + std::to_string(most) +
                              ", whose rows fit into memory");
}

PackRequest pack_request(const RunSettings& settings, const Prepared& run, int rank, int ranks) {
  PackRequest request;
  request.mode = settings.pack;
  request.cached = run.options.pack_cache != nullptr;
  request.made_up = settings.checkpoint.empty();
  request.memory = settings.memory_bytes;
  request.threads = run.options.threads;
  request.rank = rank;
  request.ranks = ranks;
  request.stored = run.options.stored;
  request.need = [&settings, &run, rank, ranks](experts::DType stored, int of_ranks) {
    const bool now = of_ranks == ranks;
    const Placement other = Placement::linear(run.block.router.experts, of_ranks);
    RankMemory need = rank_memory(run.block, now ? *run.placement : other, now ? rank : 0, stored,
                                  settings.layers);
    need.rest +=
        static_cast<std::int64_t>(std::min(row_bytes(run, now ? rank : 0, of_ranks), 1e18));
    return need;
  };
  if (settings.layers > 1) request.otherwise = "fewer --layers";
  return request;
}

/// Decides what is packed ahead, before anything is. Collective.
void settle_packing(comm::Group& group, const RunSettings& settings, Prepared& run,
                    const RunHooks& hooks) {
  const Packing packing =
      decide_packing(group, pack_request(settings, run, group.rank(), group.size()));
  if (!packing.as_needed) return;
  run.options.node_queue = false;
  if (packing.ahead) run.options.pack_budget = std::make_shared<PackBudget>(*packing.ahead);
  if (hooks.warn) hooks.warn(describe(packing));
}

Prepared prepare(const RunSettings& settings, int rank, int ranks) {
  Prepared run;
  run.model = model_of(settings);
  validate(settings, *run.model);
  if (!settings.checkpoint.empty()) run.checkpoint.emplace(settings.checkpoint);
  run.block = block_of(settings, *run.model);
  run.placement = Placement::from_name(settings.placement, run.block.router.experts, ranks);
  run.source = settings.input.empty() ? synthetic_tokens(settings.seed)
                                      : file_tokens(settings.input, run.block.router.hidden);
  run.tokens = settings.tokens >= 0 ? settings.tokens : run.source->rows();
  const auto numbers = run.model->moe_layers();
  for (std::int64_t i = 0; i < settings.layers; ++i) {
    const std::int64_t layer = numbers[static_cast<std::size_t>(i)];
    if (run.checkpoint) {
      run.weights.push_back(run.checkpoint->block(layer));
    } else {
      run.weights.push_back(std::make_unique<experts::SyntheticSource>(
          run.block, settings.seed, static_cast<std::uint32_t>(layer), run.model->router_bias(),
          run.model->selection_bias()));
    }
  }
  run.options = settings.layer;
  run.options.stored = stored_type(settings, run);
  run.options.own_types = settings.weights == "auto";
  require_rows_fit(settings, run, rank, ranks);
  return run;
}

/// For the choice of an exchange: how large a round is, and about how long its experts take.
comm::RoundShape expected_round(const Prepared& run, int ranks) {
  // Of one core of the kind this is made for; a wrong guess costs some overlap, and no bit.
  constexpr double kFlopsPerS = 6e10;
  constexpr double kBytesPerS = 1e10;
  const auto& expert = run.block.expert;
  const std::int64_t largest = share_of(run.tokens, 0, ranks).count;
  const std::int64_t chunk = run.options.chunk_tokens;
  const auto rows = static_cast<double>(chunk > 0 ? std::min(chunk, largest) : largest);
  const auto copies = static_cast<double>(run.block.router.top_k);
  const double places = static_cast<double>(run.block.router.experts) / ranks;
  const double weights = 3 * static_cast<double>(expert.hidden * expert.width);
  const double work_s =
      std::max(2 * rows * copies * weights / kFlopsPerS, 4 * places * weights / kBytesPerS);
  return {.rows = rows,
          .copies = copies,
          .row_bytes = expert.hidden * std::int64_t{sizeof(float)},
          .places = places,
          .work_s = work_s / run.options.threads};
}

Coordinator load_layers(comm::Group& group, Prepared& run, std::span<const std::int64_t> numbers) {
  const auto engine = std::make_shared<Engine>(
      group, engine_options(run.options, expected_round(run, group.size())));
  std::vector<std::unique_ptr<MoeLayer>> layers;
  for (std::size_t i = 0; i < run.weights.size(); ++i) {
    LayerOptions options = run.options;
    options.layer = numbers[i];
    layers.push_back(std::make_unique<MoeLayer>(
        group, run.block, std::shared_ptr<experts::WeightSource>(std::move(run.weights[i])),
        *run.placement, options, engine));
  }
  return {group, std::move(layers), run.options.timeline};
}

/// Everybody's figures, made into those of the run.
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
  result.tokens_per_s = result.seconds > 0 ? static_cast<double>(result.tokens) *
                                                 static_cast<double>(result.steps) / result.seconds
                                           : 0;
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

GivenRouting given_routing(const RunSettings& settings, const experts::RouterSpec& spec,
                           TokenShare share) {
  const double exponent = routing_exponent(settings.routing);
  if (exponent < 0) return {};
  return [&settings, spec, share, exponent](std::size_t layer, std::int64_t step) {
    return experts::synthetic_routing(spec, exponent, settings.seed, step,
                                      static_cast<std::uint32_t>(layer), share.first, share.count);
  };
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

RunResult describe_run(const Prepared& run, const RunSettings& settings,
                       const Coordinator& coordinator, int ranks) {
  RunResult result;
  result.model = run.model->name();
  result.router = experts::describe(run.block.router);
  result.transport = coordinator.layer(0).transport();
  result.node_queue = coordinator.layer(0).shares_work();
  const comm::ExchangeChoice& choice = coordinator.layer(0).choice();
  result.exchange = choice.why;
  if (result.transport == "two-level") result.wire = comm::name_of(choice.options.wire);
  if (result.wire != "float32") {
    result.invariance =
        result.wire + " between nodes, " + std::string(comm::bound_of(choice.options.wire));
  }
  result.isa = experts::name_of(run.options.isa);
  result.weights = experts::name_of(run.options.stored);
  result.math = experts::name_of(run.options.math);
  result.math_name = experts::math_name(run.options.isa, run.options.math, run.options.stored);
  result.routing = settings.routing;
  result.gathers = experts::needs_whole_batch(run.block.router);
  if (run.options.rank_local_rule && experts::needs_whole_batch(run.block.router)) {
    if (!result.invariance.empty()) result.invariance += "; ";
    result.invariance += "capacity over each rank's own tokens";
  }
  if (run.options.presum) {
    result.invariance += result.invariance.empty() ? "" : "; ";
    result.invariance += "results of a token summed by rank";
  }
  result.ranks = ranks;
  result.idle_ranks = run.placement->idle_ranks();
  result.layers = settings.layers;
  result.tokens = run.tokens;
  result.steps = settings.steps;
  return result;
}
}  // namespace

RunResult run(comm::Group& group, const RunSettings& settings, const RunHooks& hooks) {
  Prepared prepared;
  together(group, [&] { prepared = prepare(settings, group.rank(), group.size()); });
  settle_packing(group, settings, prepared, hooks);
  TraceRecorder recorder(group, prepared.options.threads, settings.trace_events);
  prepared.options.timeline = recorder.timeline();
  const auto numbers = prepared.model->moe_layers();
  const auto loading = std::chrono::steady_clock::now();
  Coordinator coordinator = load_layers(group, prepared, numbers);
  const double load_s = seconds_since(loading);

  RunResult result = describe_run(prepared, settings, coordinator, group.size());
  if (hooks.warn && result.idle_ranks > 0) {
    hooks.warn(std::to_string(result.idle_ranks) + " of " + std::to_string(result.ranks) +
               " ranks hold no expert and only route their tokens");
  }

  const TokenShare share = share_of(prepared.tokens, group.rank(), group.size());
  const auto given = given_routing(settings, prepared.block.router, share);
  experts::Matrix tokens(share.count, prepared.block.router.hidden);
  experts::Matrix output;
  double seconds = 0;
  for (std::int64_t i = -settings.warmup; i < settings.steps; ++i) {
    const std::int64_t step = std::max<std::int64_t>(i, 0);
    if (hooks.progress) hooks.progress(i + settings.warmup, settings.steps + settings.warmup);
    if (i == 0) coordinator.reset_stats();
    if (i == 0) recorder.start();
    together(group,
             [&] { prepared.source->read(step, prepared.tokens, share.first, tokens.view()); });
    const auto start = std::chrono::steady_clock::now();
    output = coordinator.step(step, share.first, tokens.view(), given);
    if (i >= 0) seconds += seconds_since(start);
  }
  if (hooks.progress) {
    hooks.progress(settings.steps + settings.warmup, settings.steps + settings.warmup);
  }
  result.trace = recorder.finish(hooks.trace);
  sum_up(group, coordinator, seconds, load_s, result);
  result.packing = report_packing(group, coordinator.packing(), prepared.options.pack_cache.get(),
                                  result.seconds);
  if (hooks.warn && result.packing.as_needed > 0) hooks.warn(describe(result.packing));

  result.non_finite = count_non_finite(group, output);
  if (hooks.warn && result.non_finite > 0) {
    hooks.warn(std::to_string(result.non_finite) + " values of the output are not finite");
  }
  Sha256 digest;
  rows_to_root(group, output.view(), [&](std::span<const std::byte> bytes) {
    digest.add(bytes);
    if (hooks.output) hooks.output(bytes);
  });
  const std::string hex = digest.hex();
  const auto shared = comm::broadcast(group, std::as_bytes(std::span(hex)));
  result.output_digest.assign(reinterpret_cast<const char*>(shared.data()), shared.size());
  return result;
}
}  // namespace switchyard::runtime
