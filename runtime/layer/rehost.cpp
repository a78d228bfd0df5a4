// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
#include <string>
#include <utility>

#include "experts/synthetic.hpp"
#include "runtime/layer/moe_layer.hpp"

namespace switchyard::runtime {
namespace {
void require_place(const Placement& placement, int ranks, std::int64_t experts) {
  if (placement.ranks() == ranks && placement.experts() == experts) return;
  throw std::invalid_argument("placement: of " + std::to_string(placement.experts()) +
                              " experts on " + std::to_string(placement.ranks()) + " ranks, want " +
                              std::to_string(experts) + " on " + std::to_string(ranks));
}
}  // namespace

void MoeLayer::rehost(const Placement& placement, std::vector<ReadyExpert> more) {
  require_place(placement, group_.size(), spec_.router.experts);
  weights_.shard.rehost(placement, group_.rank(), std::move(more));
  placement_ = placement;
}

void MoeLayer::rehost(const Placement& placement, const std::vector<CameExpert>& came) {
  require_place(placement, group_.size(), spec_.router.experts);
  weights_.shard.rehost(placement, group_.rank(), came);
  placement_ = placement;
}

void MoeLayer::repack(experts::WeightSource& source,
                      const std::function<NetworkOutputs(std::int64_t id)>& changed) {
  weights_.router = experts::Router(spec_.router, source.router(), options_.isa);
  if (spec_.shared) {
    weights_.always_on.repack_shared(source.shared(), changed(experts::kSharedId));
  }
  const auto own = weights_.shard.local().logical();
  weights_.shard.outdate_rooms();
  engine_->ffn.workers().run(weights_.shard.size(), [&](std::int64_t number, int) {
    const std::int32_t logical = own[static_cast<std::size_t>(number)];
    weights_.shard.repack(number, source.expert(logical), changed(logical));
  });
}
}  // namespace switchyard::runtime
