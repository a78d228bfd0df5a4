// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
#include <string>
#include <utility>

#include "runtime/layer/moe_layer.hpp"

namespace switchyard::runtime {

void MoeLayer::rehost(const Placement& placement, std::vector<ReadyExpert> more) {
  if (placement.ranks() != group_.size() || placement.experts() != spec_.router.experts) {
    throw std::invalid_argument("placement: of " + std::to_string(placement.experts()) +
                                " experts on " + std::to_string(placement.ranks()) +
                                " ranks, want " + std::to_string(spec_.router.experts) + " on " +
                                std::to_string(group_.size()));
  }
  weights_.shard.rehost(placement, group_.rank(), std::move(more));
  placement_ = placement;
}
}  // namespace switchyard::runtime
