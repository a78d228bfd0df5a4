// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/layer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "comm/group/collective.hpp"
#include "experts/index.hpp"
#include "experts/reference.hpp"
#include "experts/synthetic.hpp"
#include "runtime/bench/oracle.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/status.hpp"
#include "runtime/stored_source.hpp"

namespace switchyard::runtime::bench {
namespace {
constexpr std::int64_t kReferenceProducts = 100'000'000;

/// Experts of this rank's tokens, or nothing where the model's router decides.
std::optional<experts::Routing> given_routing(const LayerSettings& settings, std::int64_t first,
                                              std::int64_t count) {
  if (settings.routing == "model") return std::nullopt;
  if (settings.routing == "peers") {
    const auto seed = static_cast<std::uint32_t>(1000 + count);
    return experts::peers_routing(settings.block.router, seed, first, count);
  }
  return experts::synthetic_routing(settings.block.router, routing_exponent(settings.routing),
                                    settings.seed, 0, 0, first, count);
}

experts::Routing first_tokens(const experts::Routing& whole, std::int64_t count) {
  experts::Routing routing;
  routing.offsets.assign(whole.offsets.begin(), whole.offsets.begin() + count + 1);
  const std::int64_t slots = routing.offsets.back();
  routing.experts.assign(whole.experts.begin(), whole.experts.begin() + slots);
  routing.weights.assign(whole.weights.begin(), whole.weights.begin() + slots);
  return routing;
}

/// One number of tokens.
class LayerCell {
 public:
  LayerCell(comm::Group& group, const LayerSettings& settings, MoeLayer& layer, std::int64_t tokens)
      : group_(group),
        settings_(settings),
        layer_(layer),
        first_(group.rank() * tokens),
        tokens_(tokens, settings.block.expert.hidden),
        out_(tokens, settings.block.expert.hidden) {
    experts::fill_tokens(settings.seed, 0, first_, tokens_.view());
    given_ = given_routing(settings, first_, tokens);
  }

  /// The layer as `run` takes a step: every router runs, also where the routing is given.
  const experts::Matrix& forward() {
    if (given_) {
      layer_.route(tokens_.view(), first_, overruled_);
      layer_.forward(tokens_.view(), *given_, out_.view());
    } else {
      layer_.forward(tokens_.view(), out_.view());
    }
    return out_;
  }

  /// Remembers the output, and holds its first rows against the reference: as many as that takes a
  /// second or so for, one at least.
  void verify(LayerResult& result, double limit) {
    kept_ = forward();
    const experts::Routing whole = given_ ? *given_ : layer_.route(tokens_.view(), first_);
    const auto& expert = settings_.block.expert;
    const std::int64_t each = 3 * expert.hidden * expert.width * settings_.block.router.top_k;
    const std::int64_t count =
        std::min(tokens_.rows(), std::max<std::int64_t>(1, kReferenceProducts / each));
    experts::SyntheticSource synthetic(settings_.block, settings_.seed, 0, settings_.router_bias,
                                       settings_.selection_bias);
    StoredSource source(synthetic, settings_.layer.stored);
    const auto want = experts::reference::block(
        settings_.block, source, tokens_.view().slice(0, count), first_tokens(whole, count));
    for (std::int64_t t = 0; t < count; ++t) {
      const auto row = std::span(want.values).subspan(at(t * want.cols), at(want.cols));
      const double error = error_of_rms(row, kept_.row(t));
      if (!(error <= limit)) ++result.wrong;
      result.error_of_rms = std::max(result.error_of_rms, error);
    }
  }

  /// One timed step; whether its bits are the first one's is looked at afterwards.
  double step(LayerResult& result) {
    const PhaseTimes before = layer_.stats().phases;
    const double task_s = layer_.stats().task_seconds;
    group_.deadline().at({.step = repetition_++, .layer = -1, .phase = "start"});
    std::optional<TimelineSpan> span(std::in_place, settings_.layer.timeline, EventKind::kStep,
                                     "step", group_.deadline());
    const Stopwatch watch;
    const experts::Matrix& out = forward();
    const double seconds = watch.seconds();
    span.reset();
    const PhaseTimes& after = layer_.stats().phases;
    double products = 0;
    double waited = 0;
    for (std::size_t p = 0; p < kNumPhases; ++p) {
      const double took = after.seconds[p] - before.seconds[p];
      const double waiting = after.waiting[p] - before.waiting[p];
      phase_s_[p].push_back(took);
      waited += waiting;
      const auto phase = static_cast<Phase>(p);
      if (phase == Phase::kExperts || phase == Phase::kAlwaysOn) products += took - waiting;
    }
    experts_s_.push_back(products);
    exchange_s_.push_back(seconds - products);
    wait_s_.push_back(waited);
    task_s_.push_back(layer_.stats().task_seconds - task_s);
    const auto size = at(out.rows() * out.cols()) * sizeof(float);
    if (std::memcmp(out.data(), kept_.data(), size) != 0) ++result.wrong;
    return seconds;
  }

  void sum_up(LayerResult& result, const std::vector<double>& layer_s, double expert_bytes);

 private:
  comm::Group& group_;
  const LayerSettings& settings_;
  MoeLayer& layer_;
  std::int64_t first_;
  std::int64_t repetition_ = 0;
  experts::Matrix tokens_;
  std::optional<experts::Routing> given_;
  experts::Routing overruled_;  ///< what the router chose where the routing is given
  experts::Matrix out_;         ///< of the last step, in memory that every step writes again
  experts::Matrix kept_;        ///< of the first
  std::vector<double> experts_s_;
  std::vector<double> exchange_s_;
  std::vector<double> wait_s_;
  std::vector<double> task_s_;
  std::array<std::vector<double>, kNumPhases> phase_s_;
};

Summary in_ms(std::vector<double> seconds) {
  for (double& value : seconds) value *= 1e3;
  return summary(std::move(seconds));
}

void LayerCell::sum_up(LayerResult& result, const std::vector<double>& layer_s,
                       double expert_bytes) {
  const auto repetitions = static_cast<std::ptrdiff_t>(layer_s.size());
  const auto counted = [&](const std::vector<double>& all) {  // without the warm-up
    return std::vector<double>(all.end() - repetitions, all.end());
  };
  const auto experts_s = slowest(group_, counted(experts_s_));
  const auto exchange_s = slowest(group_, counted(exchange_s_));
  result.repetitions = repetitions;
  result.layer_ms = in_ms(layer_s);
  result.experts_ms = in_ms(experts_s);
  result.exchange_ms = in_ms(exchange_s);
  result.wait_ms = in_ms(slowest(group_, counted(wait_s_)));
  const double ranks = group_.size();
  const double total_tokens = static_cast<double>(result.tokens_per_rank) * ranks;
  result.tokens_per_s = 1e3 * total_tokens / result.layer_ms.median;
  std::vector<double> ratios;  // of each repetition: an average over them would look better
  const auto largest = slowest(group_, counted(task_s_));
  for (std::size_t i = 0; i < largest.size(); ++i) {
    const double mean = sum_over_ranks(group_, counted(task_s_)[i]) / ranks;
    ratios.push_back(mean > 0 ? largest[i] / mean : 1);
  }
  result.compute_imbalance = median(ratios);
  const double share = median(counted(exchange_s_)) * 1e3 / result.layer_ms.median;
  result.exchange_share = sum_over_ranks(group_, share) / ranks;
  for (auto& phase : phase_s_) {
    const double phase_ms = 1e3 * median(counted(phase));
    result.phases_ms.push_back(slowest(group_, std::span(&phase_ms, 1)).front());
  }

  layer_.reset_stats();
  static_cast<void>(forward());
  const LayerStats& stats = layer_.stats();
  const auto rows = static_cast<double>(stats.arrived);
  const double most = slowest(group_, std::span(&rows, 1)).front();
  result.balancedness = most > 0 ? sum_over_ranks(group_, rows) / ranks / most : 1;
  const auto busy = static_cast<double>(
      std::ranges::count_if(stats.computed, [](std::int64_t count) { return count > 0; }));
  result.weights_gb_per_s =
      1e-6 * sum_over_ranks(group_, busy * expert_bytes) / std::max(result.experts_ms.median, 1e-9);
  const auto total = [&](std::int64_t value) {
    return static_cast<std::int64_t>(sum_over_ranks(group_, static_cast<double>(value)));
  };
  result.wire_bytes = total(stats.wire_bytes);
  result.logical_bytes = total(stats.logical_bytes);
  result.wrong = total(result.wrong);
  result.error_of_rms = slowest(group_, std::span(&result.error_of_rms, 1)).front();
  Sha256 digest;
  rows_to_root(group_, kept_.view(), [&](std::span<const std::byte> bytes) { digest.add(bytes); });
  result.output_digest = digest.hex();  // rank 0's; the others have nothing to say
}
}  // namespace

void validate(const LayerSettings& settings) {
  if (settings.routing != "peers") static_cast<void>(routing_exponent(settings.routing));
}

LayerReport bench_layer(comm::Group& group, const LayerSettings& wanted,
                        const std::function<void(std::string_view)>& trace) {
  TraceRecorder recorder(group, wanted.layer.threads, wanted.trace_events);
  LayerSettings settings = wanted;
  settings.layer.timeline = recorder.timeline();
  std::optional<Placement> placement;
  together(group, [&] {
    validate(settings);
    placement =
        Placement::from_name(settings.placement, settings.block.router.experts, group.size());
  });
  experts::SyntheticSource source(settings.block, settings.seed, 0, settings.router_bias,
                                  settings.selection_bias);
  MoeLayer layer(group, settings.block, source, *placement, settings.layer);
  LayerReport report;
  report.transport = layer.transport();
  const auto& expert = settings.block.expert;
  report.error_limit = error_limit(settings.layer.math == experts::Math::kFloat32,
                                   std::max(expert.hidden, expert.width));
  report.weight_bytes =
      static_cast<std::int64_t>(sum_over_ranks(group, static_cast<double>(layer.weight_bytes())));
  const auto expert_bytes =
      static_cast<double>(experts::PackedExpert::packed_bytes(expert, settings.layer.stored));
  Steadiness steadiness;
  recorder.start();
  for (const std::int64_t tokens : settings.tokens_per_rank) {
    steadiness.probe();
    LayerResult result;
    result.tokens_per_rank = tokens;
    LayerCell cell(group, settings, layer, tokens);
    cell.verify(result, report.error_limit);
    std::array<Candidate, 1> one{
        Candidate{.name = "layer", .run = [&] { return cell.step(result); }}};
    alternate(group, one, settings.budget);
    cell.sum_up(result, one[0].seconds, expert_bytes);
    report.results.push_back(std::move(result));
  }
  report.trace = recorder.finish(trace);
  steadiness.probe();
  report.steadiness = steadiness.result(group);
  return report;
}
}  // namespace switchyard::runtime::bench
