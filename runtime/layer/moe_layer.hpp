// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One MoE layer, expert-parallel over a group of ranks: the way of a token in one place.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "comm/group/group.hpp"
#include "experts/router/router.hpp"
#include "runtime/layer/always_on.hpp"
#include "runtime/layer/dispatch.hpp"
#include "runtime/layer/engine.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/layer/routing_sink.hpp"
#include "runtime/layer/shard.hpp"
#include "runtime/layer/workers.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/report/layer_stats.hpp"
#include "runtime/report/timeline.hpp"

namespace switchyard::runtime {

/// For `verify --inject`: spoils one result a rank at the named stage, to show that it is caught.
enum class Inject { kNone, kRouter, kPlan, kKernel, kCombine };

struct LayerOptions {
  std::string transport = "auto";
  int stages = 0;  ///< that an exchange between nodes is cut into; 0: chosen
  comm::WireType wire = comm::WireType::kFloat32;  ///< of rows between nodes; others give law 1 up
  experts::DType stored = experts::DType::kFloat32;  ///< type of the packed expert weights
  bool own_types = false;  ///< what is beside the experts keeps the type of its tensors
  experts::Isa isa = experts::best_isa();
  experts::Math math = experts::Math::kFloat32;  ///< what products are computed in
  int threads = 1;                               ///< that compute, a rank; changes no bit
  bool presum = false;                           ///< one result a token and rank: gives law 1 up
  bool node_queue = true;         ///< ranks of a node take each other's tasks, where they can
  std::int64_t chunk_tokens = 0;  ///< most tokens a rank sends in one round; 0: all at once
  bool rank_local_rule = false;   ///< capacity over this rank's tokens only: gives law 1 up
  std::int64_t layer = 0;         ///< number in messages and deadlines
  Inject inject = Inject::kNone;
  std::shared_ptr<PackCache> pack_cache = {};  ///< where packed experts are kept; null: nowhere
  /// Experts beyond it are packed when a task needs them; without a node queue. null: no limit.
  std::shared_ptr<PackBudget> pack_budget = {};
  Timeline* timeline = nullptr;  ///< told what happens when; outlives the layer; null: nobody
};

/// What a layer's engine is to be.
/// @param expected  of a round, for the choice of an exchange; empty: not known
[[nodiscard]] EngineOptions engine_options(const LayerOptions& options,
                                           const comm::RoundShape& expected = {});

/// What one rank holds of a layer.
struct LayerWeights {
  experts::Router router;
  Shard shard;
  AlwaysOn always_on;
};

/// Collective over the group from construction on; the group must outlive it. Several
/// layers may share a group, as long as every rank calls them in the same order.
class MoeLayer {
 public:
  /// Reads the weights that this rank needs (router, always-on parts, its experts) from `source`,
  /// which is kept only if some of its experts are packed as they are needed.
  /// @throws comm::CollectiveError  on every rank, if any rank's spec, weights or placement do not
  ///         fit each other or cannot be read: the lowest such rank's words
  /// @param engine  shared by layers that are called in turn; none: the layer makes its own, with
  ///                the transport, threads, queue and timeline of the options
  MoeLayer(comm::Group& group, const experts::BlockSpec& spec,
           std::shared_ptr<experts::WeightSource> source, const Placement& placement,
           const LayerOptions& options = {}, std::shared_ptr<Engine> engine = nullptr);
  /// The same from a source that has to outlive the layer if it is packed as needed.
  MoeLayer(comm::Group& group, const experts::BlockSpec& spec, experts::WeightSource& source,
           const Placement& placement, const LayerOptions& options = {},
           std::shared_ptr<Engine> engine = nullptr);

  /// y = MoE(x) for this rank's tokens, however many each rank has.
  /// @param tokens  [tokens, hidden]
  /// @throws std::invalid_argument  another width, or logits that cannot be routed: names rank,
  ///         layer and token (on this rank only, before any message of their chunk)
  [[nodiscard]] experts::Matrix forward(experts::MatrixView<const float> tokens);
  /// The same with the caller's routing (logical experts and final weights of every slot).
  /// @throws std::invalid_argument  a routing that contradicts itself (before any message)
  [[nodiscard]] experts::Matrix forward(experts::MatrixView<const float> tokens,
                                        const experts::Routing& routing);
  /// The same into the caller's rows [tokens, hidden], which may not overlap `tokens`. After a few
  /// calls of like size nothing is allocated any more.
  /// @param first_token  number of the first one in the whole batch, for messages
  void forward(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
               std::int64_t first_token = 0);
  void forward(experts::MatrixView<const float> tokens, const experts::Routing& routing,
               experts::MatrixView<float> out);
  /// Experts and weights for this rank's tokens, batch rules included. Collective if there is one.
  /// @param first_token  number of the first one in the whole batch, for messages
  [[nodiscard]] experts::Routing route(experts::MatrixView<const float> tokens,
                                       std::int64_t first_token = 0);
  /// The same into a routing that is used again and again.
  void route(experts::MatrixView<const float> tokens, std::int64_t first_token,
             experts::Routing& routing);

  /// Packs anew what has changed in `source`: of the router everything, of this rank's experts and
  /// the shared ones (experts::kSharedId) those outputs. Between steps, on every rank before any
  /// begins the next.
  void repack(experts::WeightSource& source,
              const std::function<NetworkOutputs(std::int64_t id)>& changed);

  /// The ranks of the group have changed, or what they hold: this placement is of those that there
  /// are. Slots of experts without a host contribute nothing from now on, other weights stay as
  /// they are, and LayerStats counts them. Local; the engine is reopened by its owner.
  /// @param more  experts that the placement gives this rank and that it has not had
  void rehost(const Placement& placement, std::vector<ReadyExpert> more);
  /// The same between ranks that stay, without a node queue: experts came into room that
  /// make_room() gave, and every expert has a host.
  void rehost(const Placement& placement, const std::vector<CameExpert>& came);
  /// Room for one more expert on this rank, and where one that it has is: Shard.
  [[nodiscard]] std::byte* make_room() { return weights_.shard.make_room(); }
  [[nodiscard]] const std::byte* block_of(std::int32_t logical) const {
    return weights_.shard.block(logical);
  }
  [[nodiscard]] std::int64_t block_bytes() const { return weights_.shard.block_bytes(); }
  [[nodiscard]] experts::DType stored() const { return options_.stored; }

  /// Who is told of every chunk from now on; outlives the layer. null: nobody.
  void tell(RoutingSink* sink) { sink_ = sink; }

  [[nodiscard]] const experts::BlockSpec& spec() const { return spec_; }
  [[nodiscard]] const Placement& placement() const { return placement_; }
  [[nodiscard]] Engine& engine() { return *engine_; }
  /// As messages name it: LayerOptions::layer.
  [[nodiscard]] std::int64_t number() const { return options_.layer; }
  [[nodiscard]] std::string_view transport() const { return engine_->exchange->name(); }
  /// Ranks of this node take each other's tasks.
  [[nodiscard]] bool shares_work() const { return engine_->board.shared(); }
  /// Why this exchange, if it was chosen by its cost.
  [[nodiscard]] const comm::ExchangeChoice& choice() const { return engine_->choice; }
  [[nodiscard]] const LayerStats& stats() const { return stats_; }
  void reset_stats();
  /// Of this rank; seconds since the last reset.
  [[nodiscard]] PackStats packing() const {
    return {.experts = weights_.shard.size(),
            .as_needed = weights_.shard.as_needed(),
            .seconds = stats_.pack_seconds};
  }
  /// Packed weights on this rank.
  [[nodiscard]] std::int64_t weight_bytes() const {
    return weights_.shard.bytes() + weights_.always_on.bytes();
  }

 private:
  /// What is done while this rank waits: the always-on parts, and the router of the next chunk.
  class Aside;
  /// Tokens [first, first + count) of the batch.
  struct Chunk {
    experts::MatrixView<const float> tokens;  ///< all of the batch
    std::int64_t first = 0;
    std::int64_t count = 0;
  };
  [[nodiscard]] std::int64_t chunk_of(experts::MatrixView<const float> tokens) const;
  /// @param given  of all tokens; null: each chunk is routed here, before or while it is its turn
  void forward_rounds(experts::MatrixView<const float> tokens, const experts::Routing* given,
                      experts::MatrixView<float> out, std::int64_t first_token);
  void route_piece(const RouteAhead::Piece& piece, std::int64_t first_token);
  [[nodiscard]] bool always_on_left(experts::MatrixView<const float> tokens) const;
  void prepare_always_on(experts::MatrixView<const float> tokens);
  /// One round. Returns whether some rank has another.
  /// @param first  of the chunk's tokens in `routing`
  /// @param out    [tokens of the batch, hidden]
  bool forward_chunk(const Chunk& where, const experts::Routing& routing, std::int64_t first,
                     experts::MatrixView<float> out);
  void count_plan(const DispatchPlan& plan, const experts::Routing& routing, std::int64_t first);
  void count_arrivals(const Arrivals& arrivals);
  /// From here to the end of the timer's scope this rank is in `phase` of this layer.
  [[nodiscard]] PhaseTimer enter(Phase phase);
  void require_out(experts::MatrixView<const float> tokens, experts::MatrixView<float> out) const;
  void require_shape(experts::MatrixView<const float> tokens) const;

  comm::Group& group_;
  experts::BlockSpec spec_;
  LayerOptions options_;
  Placement placement_;
  std::shared_ptr<Engine> engine_;
  LayerWeights weights_;
  LayerStats stats_;
  RoutingSink* sink_ = nullptr;
  Phase phase_ = Phase::kRoute;  ///< that was entered last
};
}  // namespace switchyard::runtime
