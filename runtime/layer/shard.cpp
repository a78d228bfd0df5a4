// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/shard.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace switchyard::runtime {
namespace {
/// What `any` looks at: it is asked about shapes only.
alignas(64) constexpr std::byte kNoBlock[64] = {};
}  // namespace

Shard::Shard(const experts::ExpertSpec& spec, std::shared_ptr<experts::WeightSource> source,
             const Placement& placement, int rank, const ExpertStore& store, ShardPlace place)
    : spec_(spec),
      store_(store),
      own_(placement, rank),
      place_(std::move(place)),
      block_bytes_(experts::PackedExpert::packed_bytes(spec, store.stored)),
      any_(view(kNoBlock)),
      experts_(1) {
  experts::AlignedBuffer room;
  if (place_.cache) {
    for (const std::int32_t logical : own_.logical()) {
      const std::byte* const mapping = map(logical, *source, true, room);
      experts_[0].push_back(view(mapping));
      blocks_.push_back(const_cast<std::byte*>(mapping));  // repack() writes to none of a cache
    }
    return;
  }
  std::int64_t ready = 0;
  while (ready < size() && (!place_.budget || place_.budget->take(block_bytes_))) ++ready;
  as_needed_ = size() - ready;
  if (place_.memory) {
    place_.memory->ensure(ready * block_bytes_);
  } else {
    memory_ = experts::AlignedBuffer(static_cast<std::size_t>(ready * block_bytes_));
  }
  std::byte* block = place_.memory ? place_.memory->mine() : memory_.as<std::byte>();
  for (std::int64_t number = 0; number < ready; ++number, block += block_bytes_) {
    const std::int32_t logical = own_.logical()[static_cast<std::size_t>(number)];
    experts::PackedExpert::pack(spec, source->expert(logical), store.stored, block);
    experts_[0].push_back(view(block));
    blocks_.push_back(block);
  }
  experts_[0].resize(static_cast<std::size_t>(size()));
  if (as_needed_ > 0) source_ = std::move(source);
}

experts::PackedExpert Shard::view(const void* block) const {
  return {spec_, store_.stored, block, store_.isa, store_.math};
}

const std::byte* Shard::map(std::int32_t logical, experts::WeightSource& source, bool own,
                            experts::AlignedBuffer& room) {
  const PackCache::Expert expert{
      .spec = spec_, .stored = store_.stored, .layer = place_.layer, .logical = logical};
  maps_.push_back(own ? place_.cache->get(expert, source, room)
                      : place_.cache->of_mate(expert, source));
  return maps_.back().data();
}

void Shard::see_mates(const comm::NodeMap& nodes, const Placement& placement, int rank,
                      experts::WeightSource& source) {
  const auto& mates = nodes.mates_of(rank);
  experts::AlignedBuffer none;
  std::vector<experts::PackedExpert> own = std::move(experts_[0]);
  experts_.clear();
  for (std::size_t mate = 0; mate < mates.size(); ++mate) {
    auto& experts = experts_.emplace_back();
    if (mates[mate] == rank) {
      local_ = static_cast<int>(mate);
      experts = std::move(own);
      continue;
    }
    const std::byte* block = place_.memory ? place_.memory->of(static_cast<int>(mate)) : nullptr;
    for (const std::int32_t logical : placement.experts_of(mates[mate])) {
      experts.push_back(view(place_.cache ? map(logical, source, false, none) : block));
      if (block != nullptr) block += block_bytes_;
    }
  }
}

std::byte* Shard::make_room() {
  if (free_.empty()) {
    more_.emplace_back(static_cast<std::size_t>(block_bytes_));
    return more_.back().as<std::byte>();
  }
  std::byte* const room = free_.back();
  free_.pop_back();
  return room;
}

void Shard::rehost(const Placement& placement, int rank, std::vector<ReadyExpert> more) {
  std::vector<CameExpert> came;
  for (ReadyExpert& one : more) {
    came.push_back({.logical = one.logical, .block = one.block.as<std::byte>()});
    more_.push_back(std::move(one.block));
  }
  rehost(placement, rank, came);
}

void Shard::rehost(const Placement& placement, int rank, const std::vector<CameExpert>& more) {
  if (experts_.size() != 1 || as_needed_ > 0) {
    throw std::invalid_argument("shard: rehost with mates or experts packed as needed");
  }
  LocalExperts next(placement, rank);
  std::vector<experts::PackedExpert> experts;
  std::vector<std::byte*> blocks;
  for (const std::int32_t logical : next.logical()) {
    const std::int64_t had = own_.number_of(logical);
    const auto found = std::ranges::find(more, logical, &CameExpert::logical);
    if (had < 0 && found == more.end()) {
      throw std::invalid_argument("shard: expert " + std::to_string(logical) + " is not here");
    }
    blocks.push_back(had >= 0 ? blocks_[static_cast<std::size_t>(had)] : found->block);
    experts.push_back(view(blocks.back()));
  }
  const auto leaves = [&](std::byte* block) {
    const bool here = std::ranges::find(blocks, block) != blocks.end();
    if (!here && !mapped()) free_.push_back(block);
  };
  std::ranges::for_each(blocks_, leaves);
  for (const CameExpert& one : more) {
    if (own_.number_of(one.logical) >= 0 || next.number_of(one.logical) < 0) leaves(one.block);
  }
  // Room that was made later goes first: what came with the layer is one piece.
  std::erase_if(more_, [&](experts::AlignedBuffer& memory) {
    return std::erase(free_, memory.as<std::byte>()) > 0;
  });
  experts_[0] = std::move(experts);
  blocks_ = std::move(blocks);
  own_ = std::move(next);
}

experts::PackedExpert Shard::pack(std::int64_t number, PackRoom& room) const {
  const std::int32_t logical = own_.logical()[static_cast<std::size_t>(number)];
  if (room.source != source_ || room.logical != logical || room.version != version_) {
    room.source = nullptr;  // or what is half packed would look whole after a failure
    room.memory.ensure(static_cast<std::size_t>(block_bytes_));
    experts::PackedExpert::pack(spec_, source_->expert(logical), store_.stored,
                                room.memory.as<std::byte>());
    room.source = source_;
    room.logical = logical;
    room.version = version_;
  }
  return view(room.memory.as<std::byte>());
}

void Shard::repack(std::int64_t number, const experts::ExpertTensors& tensors,
                   const NetworkOutputs& changed) {
  if (mapped()) throw std::invalid_argument("layer: experts of a pack cache cannot change");
  if (number >= size() - as_needed_) return;  // packed when a task needs it
  experts::PackedExpert::repack(spec_, tensors, store_.stored, changed.up, changed.down,
                                blocks_[static_cast<std::size_t>(number)]);
}

std::int64_t Shard::bytes() const {
  return size() * block_bytes_;
}
}  // namespace switchyard::runtime
