// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/traffic.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>

#include "comm/base/hollow.hpp"
#include "comm/exchange/p2p.hpp"
#include "comm/exchange/relay.hpp"

namespace switchyard::runtime {
namespace {
/// One rank on its way through the layers.
class Carrier {
 public:
  Carrier(comm::Group& group, const TrafficJob& job, const std::function<void(double)>& pass,
          Timeline* timeline)
      : group_(group),
        job_(job),
        pass_(pass),
        timeline_(timeline),
        block_(job.job.block),
        rows_of_(static_cast<std::size_t>(block_.router.experts)) {
    const comm::Channel channel = group.new_channel();
    if (job.transport == "relay") {
      exchange_ = std::make_unique<comm::RelayExchange>(
          group, channel, job.window > 0 ? job.window : comm::RelayExchange::kWindow);
    } else {
      exchange_ = std::make_unique<comm::P2pExchange>(
          group, channel, job.window > 0 ? job.window : comm::Courier::kWindow);
    }
    // Whole words, as rows of an exchange are.
    row_bytes_ = (comm::wire_bytes(job.settings.layer.wire, block_.expert.hidden) + 3) / 4 * 4;
  }

  /// A step may have other tokens than the one before it.
  void begin(std::int64_t step) {
    tokens_now_ = tokens_of(job_.job, step);
    share_ = share_of(tokens_now_, group_.rank(), group_.size());
    given_ = given_routing(job_.settings, job_.job, share_);
  }
  void layer(std::size_t number, std::int64_t step);
  void reset() {
    const comm::Traffic now = exchange_->traffic();
    counted = {};
    before_ = now;
  }
  RankTraffic finish() {
    const comm::Traffic now = exchange_->traffic();
    counted.wire_bytes = now.wire_bytes - before_.wire_bytes;
    counted.between_nodes_bytes = now.between_nodes_bytes - before_.between_nodes_bytes;
    counted.messages = now.messages - before_.messages;
    return std::move(counted);
  }

  RankTraffic counted;

 private:
  PhaseTimer enter(Phase phase, std::int64_t layer, std::int64_t step) {
    group_.deadline().at({.step = step, .layer = layer, .phase = name_of(phase)});
    return {counted.phases, phase, group_.deadline(), timeline_};
  }
  void count(const comm::Delivery& delivery);
  [[nodiscard]] experts::Routing route(std::size_t number, std::int64_t step);
  [[nodiscard]] double computing() const;
  [[nodiscard]] double seconds_of(const experts::ExpertSpec& network, std::int64_t rows) const {
    if (!job_.compute) return 0;
    return job_.machine.crowding() *
           job_.machine.expert_seconds(job_.weights, network.hidden, network.width, rows);
  }

  comm::Group& group_;
  const TrafficJob& job_;
  const std::function<void(double)>& pass_;
  Timeline* timeline_;  ///< may be null
  const experts::BlockSpec& block_;
  TokenShare share_;
  std::int64_t tokens_now_ = 0;  ///< of all ranks
  GivenRouting given_;
  std::unique_ptr<comm::Exchange> exchange_;
  std::int64_t row_bytes_ = 0;
  DispatchPlan plan_;
  PlanScratch scratch_;
  std::vector<std::int64_t> rows_of_;  ///< [experts], rows that came for each
  comm::Traffic before_;
};

void Carrier::count(const comm::Delivery& delivery) {
  std::ranges::fill(rows_of_, 0);
  for (const auto& note : delivery.notes) {
    for (std::size_t at = 0; at + sizeof(Entry) <= note.size(); at += sizeof(Entry)) {
      Entry entry;
      std::memcpy(&entry, note.data() + at, sizeof entry);
      ++rows_of_[static_cast<std::size_t>(entry.expert)];
      ++counted.arrived;
    }
  }
}

experts::Routing Carrier::route(std::size_t number, std::int64_t step) {
  experts::Routing routing = given_(number, step);
  if (job_.deduplicate) return routing;
  // As if each choice were a token of its own.
  routing.offsets.resize(routing.experts.size() + 1);
  std::iota(routing.offsets.begin(), routing.offsets.end(), std::int64_t{0});
  return routing;
}

/// In experts, with the rows that came for each.
double Carrier::computing() const {
  if (job_.balanced) {
    const auto ranks = static_cast<double>(group_.size());
    const std::int64_t here =
        std::max<std::int64_t>(1, block_.router.experts / std::max(1, group_.size()));
    const double rows = static_cast<double>(tokens_now_ * block_.router.top_k) / ranks;
    return static_cast<double>(here) *
           seconds_of(block_.expert, std::llround(rows / static_cast<double>(here)));
  }
  double seconds = 0;
  for (const std::int64_t rows : rows_of_) {
    if (rows > 0) seconds += seconds_of(block_.expert, rows);
  }
  return seconds;
}

void Carrier::layer(std::size_t number, std::int64_t step) {
  const std::int64_t layer = job_.job.model->moe_layers()[number];
  experts::Routing routing;
  {
    const PhaseTimer timer = enter(Phase::kRoute, layer, step);
    routing = route(number, step);
  }
  {
    const PhaseTimer timer = enter(Phase::kPlan, layer, step);
    make_plan(routing, placement_of(job_.job, number), group_.rank(), 0, routing.tokens(),
              block_.router.identity, block_.router.gate_on == experts::GateOn::kInput, plan_,
              scratch_);
    counted.planned += plan_.counts;
    plan_.offer.base = comm::hollow_memory();
    plan_.offer.row_bytes = row_bytes_;
    plan_.offer.result_bytes = row_bytes_;
    plan_.offer.more = false;
  }
  {
    const PhaseTimer timer = enter(Phase::kDispatch, layer, step);
    pass_(job_.machine.dispatch_s);
    count(exchange_->dispatch(plan_.offer));
    static_cast<void>(exchange_->open_returns(row_bytes_));
  }
  {
    const PhaseTimer timer = enter(Phase::kExperts, layer, step);
    const double seconds = computing();
    counted.compute_s += seconds;
    pass_(seconds);
  }
  {
    const PhaseTimer timer = enter(Phase::kCombine, layer, step);
    pass_(job_.machine.combine_s);
    static_cast<void>(exchange_->collect());
  }
  if (!block_.shared && !block_.dense) return;
  const PhaseTimer timer = enter(Phase::kAlwaysOn, layer, step);
  if (block_.shared) pass_(seconds_of(*block_.shared, share_.count));
  if (block_.dense) pass_(seconds_of(*block_.dense, share_.count));
}

double sum_over(const std::vector<RankTraffic>& ranks, const auto& value) {
  double sum = 0;
  for (const RankTraffic& rank : ranks) sum += static_cast<double>(value(rank));
  return sum;
}

double most_over(const std::vector<RankTraffic>& ranks, const auto& value) {
  double most = 0;
  for (const RankTraffic& rank : ranks) most = std::max(most, static_cast<double>(value(rank)));
  return most;
}

/// When the last rank was through with each layer of each step, in order.
std::vector<double> ends_of(const std::vector<RankTraffic>& ranks) {
  std::vector<double> ends(ranks.front().layer_end_s.size());
  for (const RankTraffic& rank : ranks) {
    for (std::size_t i = 0; i < ends.size(); ++i) ends[i] = std::max(ends[i], rank.layer_end_s[i]);
  }
  return ends;
}
}  // namespace

RankTraffic carry_traffic(comm::Group& group, const TrafficJob& job,
                          const std::function<void(double)>& pass,
                          const std::function<double()>& now, Timeline* timeline) {
  Carrier carrier(group, job, pass, timeline);
  std::optional<comm::Recording> recording;
  if (timeline != nullptr) recording.emplace(group.deadline(), timeline);
  const RunSettings& settings = job.settings;
  for (std::int64_t i = -settings.warmup; i < settings.steps; ++i) {
    if (i == 0) {
      carrier.reset();
      carrier.counted.begin_s = now();
      if (timeline != nullptr) timeline->clear();
    }
    carrier.begin(std::max<std::int64_t>(i, 0));
    const TimelineSpan whole(timeline, EventKind::kStep, "step", group.deadline());
    for (std::int64_t layer = 0; layer < settings.layers; ++layer) {
      const TimelineSpan one(timeline, EventKind::kLayer, "layer", group.deadline());
      carrier.layer(static_cast<std::size_t>(layer), std::max<std::int64_t>(i, 0));
      if (i >= 0) carrier.counted.layer_end_s.push_back(now());
    }
  }
  return carrier.finish();
}

LayerTimes layer_times(const std::vector<RankTraffic>& ranks) {
  const std::vector<double> ends = ends_of(ranks);
  double before = most_over(ranks, [](const RankTraffic& rank) { return rank.begin_s; });
  LayerTimes times{.least_s = ends.front() - before};
  for (const double end : ends) {
    times.least_s = std::min(times.least_s, end - before);
    times.most_s = std::max(times.most_s, end - before);
    times.mean_s += (end - before) / static_cast<double>(ends.size());
    before = end;
  }
  return times;
}

RunResult sum_up(const TrafficJob& job, const std::vector<RankTraffic>& ranks,
                 std::int64_t layers) {
  const RunSettings& settings = job.settings;
  const auto steps = static_cast<double>(settings.steps);
  const auto count = static_cast<double>(ranks.size());
  const double stretch = static_cast<double>(layers) / static_cast<double>(settings.layers);
  const auto a_step = [&](const auto& value) { return sum_over(ranks, value) * stretch / steps; };
  RunResult result;
  result.model = job.job.model->name();
  result.router = experts::describe(job.job.block.router);
  result.transport = job.transport;
  result.wire = comm::name_of(settings.layer.wire);
  result.isa = "none";
  result.weights = experts::name_of(job.weights);
  result.math = "none";
  result.math_name = "none";
  result.routing = settings.routing;
  result.ranks = static_cast<int>(ranks.size());
  result.idle_ranks = job.job.placement->idle_ranks();
  result.layers = layers;
  result.tokens = job.job.tokens;
  result.steps = settings.steps;
  const double begin = most_over(ranks, [](const RankTraffic& rank) { return rank.begin_s; });
  result.seconds = (ends_of(ranks).back() - begin) * stretch;
  for (std::int64_t step = 0; step < settings.steps; ++step) {
    result.all_tokens += tokens_of(job.job, step);
  }
  result.tokens_per_s =
      result.seconds > 0 ? static_cast<double>(result.all_tokens) / result.seconds : 0;
  const auto arrived = [](const RankTraffic& rank) { return rank.arrived; };
  result.rows_max = most_over(ranks, arrived) * stretch / steps;
  result.rows_mean = a_step(arrived) / count;
  result.rows_min = result.rows_max;
  for (const RankTraffic& rank : ranks) {
    result.rows_min =
        std::min(result.rows_min, static_cast<double>(rank.arrived) * stretch / steps);
  }
  result.balancedness = result.rows_max > 0 ? result.rows_mean / result.rows_max : 1;
  const auto computing = [](const RankTraffic& rank) { return rank.compute_s; };
  const double computed = sum_over(ranks, computing);
  result.compute_imbalance = computed > 0 ? most_over(ranks, computing) * count / computed : 1;
  result.slots = a_step([](const RankTraffic& rank) { return rank.planned.slots; });
  result.dropped = a_step([](const RankTraffic& rank) { return rank.planned.dropped; });
  result.identity = a_step([](const RankTraffic& rank) { return rank.planned.identity; });
  result.rows_out = a_step([](const RankTraffic& rank) { return rank.planned.rows_out; });
  const auto row = static_cast<double>(job.job.block.expert.hidden) * sizeof(float);
  result.logical_bytes =
      2 * row * a_step([](const RankTraffic& rank) { return rank.planned.computed; });
  result.wire_bytes = a_step([](const RankTraffic& rank) { return rank.wire_bytes; });
  for (std::size_t p = 0; p < kNumPhases; ++p) {
    const auto wall = [p](const RankTraffic& rank) { return rank.phases.seconds[p]; };
    const auto wait = [p](const RankTraffic& rank) { return rank.phases.waiting[p]; };
    const auto work = [&](const RankTraffic& rank) { return wall(rank) - wait(rank); };
    const double ms = 1e3 * stretch / steps;
    result.phases.push_back({.name = std::string(kPhaseNames[p]),
                             .slowest_rank_ms = most_over(ranks, wall) * ms,
                             .mean_ms = sum_over(ranks, wall) * ms / count,
                             .slowest_rank_work_ms = most_over(ranks, work) * ms,
                             .mean_work_ms = sum_over(ranks, work) * ms / count,
                             .slowest_rank_wait_ms = most_over(ranks, wait) * ms,
                             .mean_wait_ms = sum_over(ranks, wait) * ms / count});
  }
  return result;
}
}  // namespace switchyard::runtime
