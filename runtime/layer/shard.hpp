// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The experts of this rank: packed in memory, mapped from a pack cache, or packed when a task
/// needs one; and, where a node shares its work, views of its mates'.
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/group/group.hpp"
#include "experts/ffn.hpp"
#include "runtime/layer/local_experts.hpp"
#include "runtime/packing/pack_cache.hpp"
#include "runtime/packing/packing.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

/// How a rank's experts are kept and run.
struct ExpertStore {
  experts::DType stored = experts::DType::kFloat32;
  bool own_types = false;  ///< what is beside the experts keeps the type of its tensors
  experts::Isa isa = experts::best_isa();
  experts::Math math = experts::Math::kFloat32;
};

/// Where packed experts are.
struct ShardPlace {
  std::unique_ptr<comm::SharedMemory> memory = {};  ///< all ranks of the node see it; null: private
  std::shared_ptr<PackCache> cache = {};            ///< maps them, if the source has identities
  std::shared_ptr<PackBudget> budget = {};          ///< beyond it, as needed; null: no limit
  std::int64_t layer = 0;                           ///< for names of files
};

/// Outputs of a network's matrices: of those before its middle, and of down.
struct NetworkOutputs {
  experts::Outputs up;
  experts::Outputs down;
};

/// Where a thread packs the expert of its task, kept from task to task.
struct PackRoom {
  experts::AlignedBuffer memory;
  std::shared_ptr<experts::WeightSource> source;  ///< of what is in it
  std::int64_t logical = -1;
  std::int64_t version = 0;  ///< of the shard's weights
};

/// A packed expert in room that the shard made.
struct CameExpert {
  std::int32_t logical = 0;
  std::byte* block = nullptr;
};

/// An expert that was packed apart.
struct ReadyExpert {
  std::int32_t logical = 0;
  experts::AlignedBuffer block;
};

class Shard {
 public:
  /// Asks `source` for the experts of `rank` and no others, one at a time.
  Shard(const experts::ExpertSpec& spec, std::shared_ptr<experts::WeightSource> source,
        const Placement& placement, int rank, const ExpertStore& store, ShardPlace place);

  /// Once all ranks of the node have been constructed: looks at the mates' experts, which are in
  /// shared memory or in the cache.
  /// @throws std::system_error  a mate's file has gone from the cache
  void see_mates(const comm::NodeMap& nodes, const Placement& placement, int rank,
                 experts::WeightSource& source);

  /// From now on this rank has the experts that `placement` gives it: some that it had, and some of
  /// `more`. Without mates, and without experts that are packed as needed.
  /// @throws std::invalid_argument  an expert that is neither
  void rehost(const Placement& placement, int rank, std::vector<ReadyExpert> more);

  /// Room for one more packed expert, which stays where it is until an expert that is in it has
  /// left: of one that has, if there is one.
  [[nodiscard]] std::byte* make_room();
  /// The same as rehost() for experts that came into such room. Room of those that leave is free.
  void rehost(const Placement& placement, int rank, const std::vector<CameExpert>& more);
  /// Of one of this rank's own; not of one that is mapped or packed as needed.
  [[nodiscard]] const std::byte* block(std::int32_t logical) const {
    return blocks_[static_cast<std::size_t>(own_.number_of(logical))];
  }
  [[nodiscard]] std::int64_t block_bytes() const { return block_bytes_; }

  [[nodiscard]] std::int64_t size() const { return own_.size(); }
  /// Empty if it is packed as needed, which only one's own are.
  /// @param owner  place on the node of the rank whose expert it is
  [[nodiscard]] const experts::PackedExpert& expert(int owner, std::int64_t number) const {
    return experts_[static_cast<std::size_t>(owner)][static_cast<std::size_t>(number)];
  }
  /// One of this rank's own, packed into `room` unless that is what is there. From any thread.
  /// @throws std::invalid_argument  what the source throws for weights that are no numbers
  [[nodiscard]] experts::PackedExpert pack(std::int64_t number, PackRoom& room) const;
  /// Packs anew what changed of one of this rank's own. Between steps: no rank may run it
  /// meanwhile.
  /// @throws std::invalid_argument  experts that are mapped from a cache
  void repack(std::int64_t number, const experts::ExpertTensors& tensors,
              const NetworkOutputs& changed);
  /// What tasks have packed for themselves is of weights that have changed.
  void outdate_rooms() { ++version_; }
  /// For what every expert of the shard says of rows and parts.
  [[nodiscard]] const experts::PackedExpert& any() const { return any_; }
  /// This rank's experts that are packed as needed; its others are ready.
  [[nodiscard]] std::int64_t as_needed() const { return as_needed_; }
  /// Which they are: expert(n) is local().logical()[n].
  [[nodiscard]] const LocalExperts& local() const { return own_; }
  [[nodiscard]] const experts::ExpertSpec& spec() const { return spec_; }
  [[nodiscard]] std::int64_t bytes() const;  ///< of this rank's experts, packed
  [[nodiscard]] bool mapped() const { return place_.cache != nullptr; }

 private:
  [[nodiscard]] experts::PackedExpert view(const void* block) const;
  /// Maps an expert and keeps the mapping.
  const std::byte* map(std::int32_t logical, experts::WeightSource& source, bool own,
                       experts::AlignedBuffer& room);

  experts::ExpertSpec spec_;
  ExpertStore store_;
  LocalExperts own_;
  ShardPlace place_;
  std::shared_ptr<experts::WeightSource> source_;  ///< of what is packed as needed; null: nothing
  experts::AlignedBuffer memory_;                  ///< private blocks
  std::vector<experts::AlignedBuffer> more_;       ///< of experts that came later
  std::vector<std::byte*> blocks_;                 ///< of each own expert that is ready
  std::vector<std::byte*> free_;                   ///< blocks whose experts have left
  std::vector<MappedBlock> maps_;
  std::int64_t block_bytes_;
  std::int64_t as_needed_ = 0;
  std::int64_t version_ = 0;  ///< how often an expert changed
  int local_ = 0;             ///< place on the node; 0 while mates are unseen
  experts::PackedExpert any_;
  std::vector<std::vector<experts::PackedExpert>> experts_;  ///< [mates], 1 if they are not seen
};
}  // namespace switchyard::runtime
