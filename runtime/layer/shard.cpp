// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/shard.hpp"

#include <utility>

namespace switchyard::runtime {

Shard::Shard(const experts::ExpertSpec& spec, experts::WeightSource& source,
             const Placement& placement, int rank, const ExpertStore& store,
             std::unique_ptr<comm::SharedMemory> memory)
    : spec_(spec), store_(store), own_(placement, rank), memory_(std::move(memory)), experts_(1) {
  const std::int64_t bytes = experts::PackedExpert::packed_bytes(spec, store.stored);
  if (memory_) memory_->ensure(size() * bytes);
  for (std::int64_t number = 0; number < size(); ++number) {
    const std::int32_t logical = own_.logical()[static_cast<std::size_t>(number)];
    if (!memory_) {
      experts_[0].emplace_back(spec, source.expert(logical), store.stored, store.isa, store.math);
      continue;
    }
    std::byte* const block = memory_->mine() + number * bytes;
    experts::PackedExpert::pack(spec, source.expert(logical), store.stored, block);
    experts_[0].emplace_back(spec, store.stored, block, store.isa, store.math);
  }
}

void Shard::see_mates(const comm::NodeMap& nodes, const Placement& placement, int rank) {
  if (!memory_) return;
  const std::int64_t bytes = experts::PackedExpert::packed_bytes(spec_, store_.stored);
  const auto& mates = nodes.mates_of(rank);
  experts_.clear();
  for (std::size_t mate = 0; mate < mates.size(); ++mate) {
    if (mates[mate] == rank) local_ = static_cast<int>(mate);
    const std::byte* const blocks = memory_->of(static_cast<int>(mate));
    auto& experts = experts_.emplace_back();
    const auto count = static_cast<std::int64_t>(placement.experts_of(mates[mate]).size());
    for (std::int64_t e = 0; e < count; ++e) {
      experts.emplace_back(spec_, store_.stored, blocks + e * bytes, store_.isa, store_.math);
    }
  }
}

std::int64_t Shard::bytes() const {
  return size() * experts::PackedExpert::packed_bytes(spec_, store_.stored);
}
}  // namespace switchyard::runtime
