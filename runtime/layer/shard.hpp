// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The experts of this rank, packed; and, where a node shares its work, views of its mates'.
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/group.hpp"
#include "experts/ffn.hpp"
#include "runtime/layer/local_experts.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

/// How a rank's experts are kept and run.
struct ExpertStore {
  experts::DType stored = experts::DType::kFloat32;
  bool own_types = false;  ///< what is beside the experts keeps the type of its tensors
  experts::Isa isa = experts::best_isa();
  experts::Math math = experts::Math::kFloat32;
};

class Shard {
 public:
  /// Asks `source` for the experts of `rank` and no others, one at a time.
  /// @param memory  where to pack them, for all ranks of the node to see; null: private memory
  Shard(const experts::ExpertSpec& spec, experts::WeightSource& source, const Placement& placement,
        int rank, const ExpertStore& store, std::unique_ptr<comm::SharedMemory> memory);

  /// Once all ranks of the node have been constructed: looks at the mates' experts.
  void see_mates(const comm::NodeMap& nodes, const Placement& placement, int rank);

  [[nodiscard]] std::int64_t size() const { return own_.size(); }
  /// @param owner  place on the node of the rank whose expert it is
  [[nodiscard]] const experts::PackedExpert& expert(int owner, std::int64_t number) const {
    return experts_[static_cast<std::size_t>(owner)][static_cast<std::size_t>(number)];
  }
  /// One of this rank's own.
  [[nodiscard]] const experts::PackedExpert& expert(std::int64_t number) const {
    return expert(local_, number);
  }
  /// Which they are: expert(n) is local().logical()[n].
  [[nodiscard]] const LocalExperts& local() const { return own_; }
  [[nodiscard]] const experts::ExpertSpec& spec() const { return spec_; }
  [[nodiscard]] std::int64_t bytes() const;  ///< of this rank's experts

 private:
  experts::ExpertSpec spec_;
  ExpertStore store_;
  LocalExperts own_;
  std::unique_ptr<comm::SharedMemory> memory_;  ///< null: each expert owns its block
  int local_ = 0;                               ///< place on the node; 0 while mates are unseen
  std::vector<std::vector<experts::PackedExpert>> experts_;  ///< [mates], 1 without shared memory
};
}  // namespace switchyard::runtime
