// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/moe_layer.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <utility>

#include "experts/synthetic.hpp"
#include "runtime/layer/inject.hpp"
#include "runtime/layer/mask.hpp"
#include "runtime/layer/presum.hpp"
#include "runtime/layer/whole_batch.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
void require_fit(const Placement& placement, const comm::Group& group,
                 const experts::BlockSpec& spec) {
  const std::int64_t hidden = spec.expert.hidden;
  if (spec.router.hidden != hidden || (spec.shared && spec.shared->hidden != hidden) ||
      (spec.dense && spec.dense->hidden != hidden)) {
    throw std::invalid_argument(
        "block: router, shared and dense parts have other hidden sizes, want " +
        std::to_string(hidden) + " as the experts");
  }
  if (placement.ranks() == group.size() && placement.experts() == spec.router.experts) return;
  throw std::invalid_argument("placement: of " + std::to_string(placement.experts()) +
                              " experts on " + std::to_string(placement.ranks()) + " ranks, want " +
                              std::to_string(spec.router.experts) + " on " +
                              std::to_string(group.size()));
}

/// A routing may come from anywhere: nothing in it is used as an index before this.
void require_sound(const experts::Routing& routing, std::int64_t tokens) {
  const auto& offsets = routing.offsets;
  const auto slots = static_cast<std::int64_t>(routing.experts.size());
  if (offsets.empty() || routing.tokens() != tokens) {
    throw std::invalid_argument("forward: routing of " +
                                std::to_string(offsets.empty() ? 0 : routing.tokens()) +
                                " tokens, want " + std::to_string(tokens));
  }
  if (offsets.front() != 0 || offsets.back() != slots ||
      !std::is_sorted(offsets.begin(), offsets.end()) ||
      routing.weights.size() != routing.experts.size()) {
    throw std::invalid_argument(
        "forward: routing of " + std::to_string(slots) + " experts and " +
        std::to_string(routing.weights.size()) +
        " weights, want one of each a slot and offsets that rise from 0 to " +
        std::to_string(slots));
  }
}

/// Room for every rank's experts in memory that their node shares, if it shares its work and no
/// cache has them.
std::unique_ptr<comm::SharedMemory> share_weights(comm::Group& group, const Engine& engine,
                                                  const experts::BlockSpec& spec,
                                                  const Placement& placement,
                                                  experts::DType stored) {
  if (!engine.board.shared()) return nullptr;
  std::int64_t most = 1;
  for (int rank = 0; rank < group.size(); ++rank) {
    most = std::max(most, static_cast<std::int64_t>(placement.experts_of(rank).size()));
  }
  return group.share(most * experts::PackedExpert::packed_bytes(spec.expert, stored));
}

LayerWeights load_together(comm::Group& group, const Engine& engine, const experts::BlockSpec& spec,
                           const std::shared_ptr<experts::WeightSource>& source,
                           const Placement& placement, const LayerOptions& options) {
  group.deadline().at({.step = -1, .layer = options.layer, .phase = "load"});
  const ExpertStore store{.stored = options.stored,
                          .own_types = options.own_types,
                          .isa = options.isa,
                          .math = options.math};
  std::optional<LayerWeights> weights;
  ShardPlace place{.budget = options.pack_budget, .layer = options.layer};
  together(group, [&] {
    require_fit(placement, group, spec);
    if (options.pack_budget && engine.board.shared()) {
      throw std::invalid_argument(
          "layer: experts that are packed as needed and a node queue, want one of them");
    }
    if (options.pack_cache && !source->identity(0).empty()) place.cache = options.pack_cache;
  });
  if (!place.cache) place.memory = share_weights(group, engine, spec, placement, options.stored);
  together(group, [&] {
    weights.emplace(LayerWeights{
        .router = experts::Router(spec.router, source->router(), options.isa),
        .shard = Shard(spec.expert, source, placement, group.rank(), store, std::move(place)),
        .always_on = AlwaysOn(spec, *source, store)});
  });
  if (!engine.board.shared()) return std::move(*weights);
  const comm::NodeMap& nodes = group.nodes();
  together(group, [&] { weights->shard.see_mates(nodes, placement, group.rank(), *source); });
  return std::move(*weights);
}

std::shared_ptr<Engine> engine_or_own(std::shared_ptr<Engine> given, comm::Group& group,
                                      const LayerOptions& options) {
  if (given) return given;
  return std::make_shared<Engine>(group, engine_options(options));
}
}  // namespace

EngineOptions engine_options(const LayerOptions& options, const comm::RoundShape& expected) {
  return {
      .exchange = {.transport = options.transport, .stages = options.stages, .wire = options.wire},
      .expected = expected,
      .threads = options.threads,
      .node_queue = options.node_queue,
      .timeline = options.timeline};
}

MoeLayer::MoeLayer(comm::Group& group, const experts::BlockSpec& spec,
                   experts::WeightSource& source, const Placement& placement,
                   const LayerOptions& options, std::shared_ptr<Engine> engine)
    : MoeLayer(group, spec,
               std::shared_ptr<experts::WeightSource>(std::shared_ptr<void>(), &source), placement,
               options, std::move(engine)) {}

MoeLayer::MoeLayer(comm::Group& group, const experts::BlockSpec& spec,
                   std::shared_ptr<experts::WeightSource> source, const Placement& placement,
                   const LayerOptions& options, std::shared_ptr<Engine> engine)
    : group_(group),
      spec_(spec),
      options_(options),
      placement_(placement),
      engine_(engine_or_own(std::move(engine), group, options)),
      weights_(load_together(group, *engine_, spec, source, placement, options)) {
  together(group, [&] {
    if (!options.presum || engine_->exchange->stages() == 1) return;
    throw std::invalid_argument("--combine: got presum with transport " +
                                std::string(engine_->exchange->name()) +
                                ", whose results leave by stages, want exact");
  });
  reset_stats();
}

experts::Matrix MoeLayer::forward(experts::MatrixView<const float> tokens) {
  require_shape(tokens);
  experts::Matrix out(tokens.rows, tokens.cols);
  forward(tokens, out.view());
  return out;
}

experts::Matrix MoeLayer::forward(experts::MatrixView<const float> tokens,
                                  const experts::Routing& routing) {
  require_shape(tokens);
  experts::Matrix out(tokens.rows, tokens.cols);
  forward(tokens, routing, out.view());
  return out;
}

/// Work of a batch that depends on nobody: done where this rank would wait.
class MoeLayer::Aside final : public comm::Spare {
 public:
  Aside(MoeLayer& layer, experts::MatrixView<const float> tokens, std::int64_t first_token)
      : layer_(layer),
        tokens_(tokens),
        first_token_(first_token),
        outer_(layer.group_.deadline().spare()) {}

  [[nodiscard]] bool left() const override {
    return own_left() || (outer_ != nullptr && outer_->left());
  }
  void work() override {
    if (!own_left()) return outer_->work();
    PhaseTimes& times = layer_.stats_.phases;
    const Phase outer = layer_.phase_;
    const comm::Position position = layer_.group_.deadline().position();
    const auto aside = [&times] {
      return times.seconds[static_cast<std::size_t>(Phase::kRoute)] +
             times.seconds[static_cast<std::size_t>(Phase::kAlwaysOn)];
    };
    const double before = aside();
    if (layer_.always_on_left(tokens_)) {
      layer_.prepare_always_on(tokens_);
    } else {
      layer_.route_piece(layer_.engine_->ahead.some(), first_token_);
    }
    times.seconds[static_cast<std::size_t>(outer)] -= aside() - before;  // not twice
    layer_.phase_ = outer;
    layer_.group_.deadline().back_at(position);
  }

 private:
  [[nodiscard]] bool own_left() const {
    return layer_.always_on_left(tokens_) || layer_.engine_->ahead.left();
  }

  MoeLayer& layer_;
  experts::MatrixView<const float> tokens_;
  std::int64_t first_token_;
  comm::Spare* outer_;  ///< of whoever runs the layer; null: nothing
};

void MoeLayer::forward(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                       std::int64_t first_token) {
  require_out(tokens, out);
  if (experts::needs_whole_batch(spec_.router)) {
    route(tokens, first_token, engine_->routing);
    return forward(tokens, engine_->routing, out);
  }
  engine_->ahead.start(tokens, chunk_of(tokens));
  forward_rounds(tokens, nullptr, out, first_token);
}

experts::Routing MoeLayer::route(experts::MatrixView<const float> tokens,
                                 std::int64_t first_token) {
  experts::Routing routing;
  route(tokens, first_token, routing);
  return routing;
}

void MoeLayer::route(experts::MatrixView<const float> tokens, std::int64_t first_token,
                     experts::Routing& routing) {
  require_shape(tokens);
  const PhaseTimer timer = enter(Phase::kRoute);
  try {
    weights_.router.route(tokens, routing, engine_->router);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("rank " + std::to_string(group_.rank()) + ", layer " +
                                std::to_string(options_.layer) + ", its tokens counted from " +
                                std::to_string(first_token) + ": " + error.what());
  }
  if (experts::needs_whole_batch(spec_.router)) {
    if (options_.rank_local_rule) {
      experts::apply_batch_rule(spec_.router, routing);
    } else {
      routing = decide_whole_batch(group_, spec_.router, std::move(routing));
    }
  }
  if (options_.inject == Inject::kRouter) spoil_routing(routing, spec_.router.all_experts());
}

void MoeLayer::forward(experts::MatrixView<const float> tokens, const experts::Routing& routing,
                       experts::MatrixView<float> out) {
  require_out(tokens, out);
  require_sound(routing, tokens.rows);
  engine_->ahead.start({}, 1);  // nothing
  forward_rounds(tokens, &without_lost(placement_, routing, engine_->masked, stats_), out, 0);
}

void MoeLayer::forward_rounds(experts::MatrixView<const float> tokens,
                              const experts::Routing* given, experts::MatrixView<float> out,
                              std::int64_t first_token) {
  const std::int64_t wire_bytes = engine_->exchange->traffic().wire_bytes;
  const double task_seconds = engine_->ffn.task_seconds();
  const double pack_seconds = engine_->ffn.pack_seconds();
  const std::int64_t chunk = chunk_of(tokens);
  RouteAhead& ahead = engine_->ahead;
  engine_->always_on.prepared = 0;
  Aside aside(*this, tokens, first_token);
  std::int64_t first = 0;
  for (bool more = true; more;) {
    const std::int64_t count = std::min(chunk, tokens.rows - first);
    if (ahead.left()) route_piece(ahead.rest(), first_token);
    const comm::WhileWaiting meanwhile(group_.deadline(), &aside);
    const experts::Routing& routing = given != nullptr ? *given : ahead.take();
    more = forward_chunk({.tokens = tokens, .first = first, .count = count}, routing,
                         given != nullptr ? first : 0, out);
    first += count;
  }
  if (!weights_.always_on.empty()) {
    const PhaseTimer timer = enter(Phase::kAlwaysOn);
    weights_.always_on.add(tokens, out, engine_->always_on, engine_->ffn.workers(),
                           engine_->ffn.scratch());
  }
  stats_.wire_bytes += engine_->exchange->traffic().wire_bytes - wire_bytes;
  stats_.task_seconds += engine_->ffn.task_seconds() - task_seconds;
  stats_.pack_seconds += engine_->ffn.pack_seconds() - pack_seconds;
}

std::int64_t MoeLayer::chunk_of(experts::MatrixView<const float> tokens) const {
  return options_.chunk_tokens > 0 ? options_.chunk_tokens : std::max<std::int64_t>(tokens.rows, 1);
}

void MoeLayer::route_piece(const RouteAhead::Piece& piece, std::int64_t first_token) {
  RouteAhead& ahead = engine_->ahead;
  route(piece.tokens, first_token + piece.first, ahead.room(piece));
  mask_lost(placement_, ahead.room(piece), stats_);
  ahead.add(piece);
}

bool MoeLayer::always_on_left(experts::MatrixView<const float> tokens) const {
  return weights_.always_on.left(tokens.rows, engine_->always_on);
}

void MoeLayer::prepare_always_on(experts::MatrixView<const float> tokens) {
  const PhaseTimer timer = enter(Phase::kAlwaysOn);
  weights_.always_on.prepare(tokens, engine_->always_on, engine_->ffn.workers(),
                             engine_->ffn.scratch());
}

bool MoeLayer::forward_chunk(const Chunk& where, const experts::Routing& routing,
                             std::int64_t first, experts::MatrixView<float> out) {
  const bool gates = spec_.router.gate_on == experts::GateOn::kInput;
  const std::int64_t count = where.count;
  const auto chunk = where.tokens.slice(where.first, count);
  Engine& engine = *engine_;
  const int stages = engine.exchange->stages();
  {
    const PhaseTimer timer = enter(Phase::kPlan);
    make_plan(routing, placement_, group_.rank(), first, count, spec_.router.identity,
              gates || options_.presum, engine.plan, engine.planner);
    if (options_.presum) plan_presum(engine.plan);
    if (stages > 1) engine.cutter.cut(engine.plan, placement_, stages);
    if (options_.inject == Inject::kPlan) spoil_plan(engine.plan);
    count_plan(engine.plan, routing, first);
    if (sink_ != nullptr) sink_->sent(options_.layer, routing, first, count);
  }
  Arrivals arrivals;
  {
    const PhaseTimer timer = enter(Phase::kDispatch);
    arrivals = dispatch(engine, weights_.shard.local(), chunk, gates, options_.presum,
                        where.first + count < where.tokens.rows);
    publish(engine, weights_.shard, arrivals);
    count_arrivals(arrivals);
  }
  while (always_on_left(where.tokens)) {  // while rows are on their way
    prepare_always_on(where.tokens);
    engine.exchange->progress();
  }
  {
    const PhaseTimer timer = enter(Phase::kExperts);
    engine.ffn.run(*engine.exchange, weights_.shard, engine.board, stages);
    if (options_.inject == Inject::kKernel) spoil_results(arrivals, chunk.cols);
  }
  {
    const PhaseTimer timer = enter(Phase::kCombine);
    const auto sums = out.slice(where.first, count);
    if (options_.presum) {
      presum(engine, gates, chunk.cols, options_.isa);
      combine_presummed(engine, routing, first, chunk, placement_.experts(), options_.isa, sums);
    } else {
      combine(engine, routing, first, chunk, gates, options_.isa, sums);
    }
    if (options_.inject == Inject::kCombine) spoil_sum(sums);
  }
  return arrivals.more;
}

void MoeLayer::count_plan(const DispatchPlan& plan, const experts::Routing& routing,
                          std::int64_t first) {
  stats_.planned += plan.counts;
  stats_.logical_bytes +=
      2 * plan.counts.computed * spec_.expert.hidden * std::int64_t{sizeof(float)};
  const std::int64_t begin = routing.offsets[static_cast<std::size_t>(first)];
  for (std::int64_t slot = begin; slot < begin + plan.counts.slots; ++slot) {
    const std::int32_t expert = routing.experts[static_cast<std::size_t>(slot)];
    if (expert >= 0) ++stats_.load[static_cast<std::size_t>(expert)];
  }
}

void MoeLayer::count_arrivals(const Arrivals& arrivals) {
  stats_.arrived += arrivals.size();
  const auto mine = placement_.experts_of(group_.rank());
  for (std::size_t e = 0; e < mine.size(); ++e) {
    stats_.computed[static_cast<std::size_t>(mine[e])] +=
        arrivals.offsets[e + 1] - arrivals.offsets[e];
  }
}

void MoeLayer::reset_stats() {
  stats_ = {};
  stats_.computed.assign(static_cast<std::size_t>(spec_.router.experts), 0);
  stats_.load.assign(static_cast<std::size_t>(spec_.router.all_experts()), 0);
}

PhaseTimer MoeLayer::enter(Phase phase) {
  auto position = group_.deadline().position();
  position.layer = options_.layer;
  position.phase = name_of(phase);
  group_.deadline().at(position);
  phase_ = phase;
  return {stats_.phases, phase, group_.deadline(), options_.timeline};
}

void MoeLayer::require_out(experts::MatrixView<const float> tokens,
                           experts::MatrixView<float> out) const {
  require_shape(tokens);
  if (out.rows == tokens.rows && out.cols == tokens.cols) return;
  throw std::invalid_argument("forward: out is [" + std::to_string(out.rows) + ", " +
                              std::to_string(out.cols) + "], want [" + std::to_string(tokens.rows) +
                              ", " + std::to_string(tokens.cols) + "]");
}

void MoeLayer::require_shape(experts::MatrixView<const float> tokens) const {
  if (tokens.cols != spec_.expert.hidden || (tokens.rows > 0 && tokens.stride != tokens.cols)) {
    throw std::invalid_argument("forward: rows of " + std::to_string(tokens.cols) + " (stride " +
                                std::to_string(tokens.stride) + "), want dense rows of " +
                                std::to_string(spec_.expert.hidden));
  }
}
}  // namespace switchyard::runtime
