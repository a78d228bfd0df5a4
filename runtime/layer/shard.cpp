// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/shard.hpp"

namespace switchyard::runtime {

Shard::Shard(const experts::ExpertSpec& spec, experts::WeightSource& source,
             const Placement& placement, int rank, experts::DType stored, experts::Isa isa)
    : local_of_(static_cast<std::size_t>(placement.experts()), -1) {
  for (const std::int32_t logical : placement.experts_of(rank)) {
    local_of_[static_cast<std::size_t>(logical)] = size();
    experts_.emplace_back(spec, source.expert(logical), stored, isa);
  }
}

std::int64_t Shard::bytes() const {
  std::int64_t sum = 0;
  for (const auto& expert : experts_) sum += expert.bytes();
  return sum;
}
}  // namespace switchyard::runtime
