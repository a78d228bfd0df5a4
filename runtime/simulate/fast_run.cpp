// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fast_run.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>

#include "comm/wire/wire_type.hpp"
#include "experts/index.hpp"
#include "experts/synthetic.hpp"
#include "runtime/model/model.hpp"
#include "runtime/trace/replay.hpp"

namespace switchyard::runtime {
namespace {
/// Who goes where, in memory for all steps and layers.
struct Routings {
  std::int64_t top_k = 0;
  std::int64_t most_tokens = 0;
  std::vector<std::vector<std::vector<std::int32_t>>> chosen;  ///< [steps][layers][tokens, top_k]
};

Routings drawn(const RunSettings& run, const experts::RouterSpec& spec, double exponent) {
  Routings all{.top_k = spec.top_k, .most_tokens = run.tokens, .chosen = {}};
  for (std::int64_t step = 0; step < run.steps; ++step) {
    auto& layers = all.chosen.emplace_back();
    for (std::int64_t layer = 0; layer < run.layers; ++layer) {
      layers.push_back(experts::synthetic_routing(spec, exponent, run.seed, step,
                                                  static_cast<std::uint32_t>(layer), 0, run.tokens)
                           .experts);
    }
  }
  return all;
}

Routings replayed(const std::string& file, const RunSettings& run,
                  const experts::RouterSpec& spec) {
  TraceReplay trace(file);
  trace.require_fit(spec, run.layers);
  Routings all{
      .top_k = trace.trace().info().top_k, .most_tokens = trace.most_tokens(), .chosen = {}};
  for (std::int64_t step = 0; step < run.steps; ++step) {
    auto& layers = all.chosen.emplace_back();
    for (std::int64_t layer = 0; layer < run.layers; ++layer) {
      layers.push_back(trace.routing(step, layer, 0, trace.tokens(step), false).experts);
    }
  }
  return all;
}

Routings routings_of(const RunSettings& run, const experts::RouterSpec& spec) {
  constexpr std::string_view kTrace = "trace:";
  if (run.routing.starts_with(kTrace)) {
    return replayed(run.routing.substr(kTrace.size()), run, spec);
  }
  // No router is run here.
  return drawn(run, spec, run.routing == "model" ? 0 : routing_exponent(run.routing));
}

FastSettings settings_of(const RunSettings& run, const experts::BlockSpec& block) {
  const auto row = static_cast<double>(4 * block.expert.hidden);
  FastSettings fast{.hidden = block.expert.hidden,
                    .width = block.expert.width,
                    .row_bytes = row,
                    .result_bytes = row,
                    .cross_row_bytes = row,
                    .cross_result_bytes = row};
  if (block.shared) fast.shared_width = block.shared->width;
  if (run.weights != "auto") fast.weights = experts::dtype_from(run.weights);
  return fast;
}

FastSettings as_two_level(FastSettings fast, const RunSettings& run) {
  fast.two_level = true;
  fast.announce = true;
  fast.inside_messages = false;
  fast.cross_row_bytes = static_cast<double>(comm::wire_bytes(run.layer.wire, fast.hidden));
  fast.cross_result_bytes = fast.cross_row_bytes;
  return fast;
}

FastSettings as_relay(FastSettings fast) {
  fast.relay = true;
  return fast;
}

FastSettings as_one_level(FastSettings fast, bool one_node) {
  fast.two_level = false;
  fast.announce = !one_node;
  fast.inside_messages = !one_node;
  fast.cross_row_bytes = fast.row_bytes;
  fast.cross_result_bytes = fast.result_bytes;
  return fast;
}

void add(FastPhase& phase, double seconds, const std::string& limit) {
  phase.seconds += seconds;
  if (seconds < phase.limit_s) return;
  phase.limit = limit;
  phase.limit_s = seconds;
}

/// One machine, one set of routings; anything else may differ from call to call.
class FastRunner {
 public:
  FastRunner(const Machine& machine, const FabricLinks& fabric, int ranks)
      : engine_(machine, fabric, ranks) {}

  /// @param placements  one for all layers, or one for each
  FastOutcome run(const Routings& routings, const std::vector<Placement>& placements,
                  const FastSettings& settings) {
    FastOutcome outcome;
    outcome.phases[0].name = "dispatch";
    outcome.phases[1].name = "compute";
    outcome.phases[2].name = "combine";
    const auto steps = static_cast<double>(routings.chosen.size());
    double layers = 0;
    for (const auto& step : routings.chosen) {
      for (std::size_t number = 0; number < step.size(); ++number) {
        const auto& chosen = step[number];
        const Placement& placement = placements[placements.size() == 1 ? 0 : number];
        const auto start = std::chrono::steady_clock::now();
        const LayerEstimate layer =
            engine_.layer({.tokens = static_cast<std::int64_t>(chosen.size()) / routings.top_k,
                           .top_k = routings.top_k,
                           .chosen = chosen},
                          placement, settings);
        walls_.push_back(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        add(outcome.phases[0], layer.dispatch.seconds, layer.dispatch.limit);
        add(outcome.phases[1], layer.compute_s, layer.compute_limit);
        add(outcome.phases[2], layer.combine.seconds, layer.combine.limit);
        outcome.balancedness += layer.balancedness;
        outcome.logical_bytes += layer.logical_bytes / steps;
        outcome.wire_bytes += layer.wire_bytes / steps;
        for (std::size_t i = 0; i < kAllTiers.size(); ++i) {
          outcome.tier_bytes[i] += layer.tier_bytes[i] / steps;
        }
        ++layers;
      }
    }
    outcome.balancedness /= layers;
    for (FastPhase& phase : outcome.phases) {
      phase.seconds /= steps;
      outcome.step_s += phase.seconds;
    }
    return outcome;
  }

  [[nodiscard]] double median_wall_s() const {
    auto sorted = walls_;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
  }
  [[nodiscard]] FastEngine& engine() { return engine_; }

 private:
  FastEngine engine_;
  std::vector<double> walls_;
};
}  // namespace

FastRunResult simulate_fast(const FastRunSettings& settings, const Machine& machine,
                            const FabricLinks& fabric) {
  const RunSettings& run = settings.run;
  const Model model = model_of(run);
  const experts::BlockSpec block = model.block();
  const auto place = [&](const std::string& name) {
    std::vector<Placement> placements;
    const std::int64_t count = Placement::layered(name) ? run.layers : 1;
    for (std::int64_t i = 0; i < count; ++i) {
      placements.push_back(Placement::from_name(name, block.router.experts, settings.ranks,
                                                model.moe_layers()[at(i)]));
    }
    return placements;
  };
  const std::vector<Placement> placement = place(run.placement);
  const Routings routings = routings_of(run, block.router);
  FastRunner runner(machine, fabric, settings.ranks);

  const bool one_node = machine.nodes == 1;
  const FastSettings both = settings_of(run, block);
  const FastSettings one = as_one_level(both, one_node);
  const FastSettings two = as_two_level(both, run);
  FastRunResult result{.model = model.name(),
                       .routing = run.routing == "model" ? "uniform" : run.routing,
                       .transport = run.layer.transport,
                       .transport_why = {},
                       .placement = run.placement,
                       .weights = std::string(experts::name_of(both.weights)),
                       .ranks = settings.ranks,
                       .nodes = machine.nodes,
                       .layers = run.layers,
                       .steps = run.steps,
                       .tokens = routings.most_tokens,
                       .outcome = {},
                       .links = {},
                       .what_if = {}};
  if (result.transport == "node" && !one_node) {
    throw std::invalid_argument("--transport: got " + result.transport + " with --fast on " +
                                std::to_string(machine.nodes) +
                                " nodes, want auto, p2p, alltoallv, two-level or relay");
  }
  if (result.transport == "auto" && one_node) result.transport = "node";
  if (result.transport == "auto") {
    const double one_s = runner.run(routings, placement, one).step_s;
    const double two_s = runner.run(routings, placement, two).step_s;
    result.transport = two_s < one_s ? "two-level" : "p2p";
    char why[80];
    std::snprintf(why, sizeof why, "two-level %.4g ms, p2p %.4g ms", 1e3 * two_s, 1e3 * one_s);
    result.transport_why = why;
  }
  FastSettings chosen = result.transport == "two-level" ? two : one;
  if (result.transport == "p2p" || result.transport == "alltoallv") {
    chosen = as_one_level(both, false);
  }
  if (result.transport == "relay") chosen = as_relay(both);

  runner.engine().forget_use();
  result.outcome = runner.run(routings, placement, chosen);
  const auto steps = static_cast<double>(run.steps);
  for (auto& link : runner.engine().busiest(settings.links)) {
    result.links.push_back(
        {std::move(link.name), link.bytes / steps, link.busy_s / steps / result.outcome.step_s});
  }

  for (const std::string& name : settings.what_if) {
    FastSettings other = chosen;
    if (name == "perfect-balance") {
      other.balanced = true;
      const Routings even = drawn(run, block.router, 0);
      result.what_if.push_back({name, runner.run(even, placement, other)});
      continue;
    }
    if (name == "infinite-network") other.network = false;
    if (name == "no-deduplication") other.deduplicate = false;
    if (name == "one-level") other = as_one_level(both, one_node);
    if (name == "two-level") other = two;
    if (name == "relay") other = as_relay(both);
    const bool same_place = name == "infinite-network" || name == "no-deduplication" ||
                            name == "one-level" || name == "two-level" || name == "relay";
    result.what_if.push_back(
        {name, runner.run(routings, same_place ? placement : place(name), other)});
  }
  result.layer_wall_s = runner.median_wall_s();
  return result;
}
}  // namespace switchyard::runtime
