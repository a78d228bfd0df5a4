// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The experts of this rank, packed, and the threads that may work on them.
#include <cstdint>
#include <span>
#include <vector>

#include "experts/ffn.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

class Shard {
 public:
  /// Asks `source` for the experts of `rank` and no others, one at a time.
  Shard(const experts::ExpertSpec& spec, experts::WeightSource& source, const Placement& placement,
        int rank, experts::DType stored, experts::Isa isa);

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(experts_.size()); }
  [[nodiscard]] const experts::PackedExpert& expert(std::int64_t local) const {
    return experts_[static_cast<std::size_t>(local)];
  }
  /// Where a logical expert is on this rank; -1 if it is not here.
  [[nodiscard]] std::int64_t local_of(std::int32_t logical) const {
    return logical < 0 || logical >= static_cast<std::int32_t>(local_of_.size())
               ? -1
               : local_of_[static_cast<std::size_t>(logical)];
  }
  [[nodiscard]] std::int64_t bytes() const;

 private:
  std::vector<experts::PackedExpert> experts_;
  std::vector<std::int64_t> local_of_;  ///< [logical experts]
};
}  // namespace switchyard::runtime
