// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which experts live on a rank, and where they stand among each other.
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

class LocalExperts {
 public:
  LocalExperts(const Placement& placement, int rank)
      : numbers_(static_cast<std::size_t>(placement.experts()), -1) {
    for (const std::int32_t expert : placement.experts_of(rank)) {
      numbers_[static_cast<std::size_t>(expert)] = size();
      logical_.push_back(expert);
    }
  }

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(logical_.size()); }
  /// [size()], their logical ids.
  [[nodiscard]] std::span<const std::int32_t> logical() const { return logical_; }
  /// The number of a logical expert on this rank; -1 if it is not here.
  [[nodiscard]] std::int64_t number_of(std::int32_t logical) const {
    return logical < 0 || logical >= static_cast<std::int32_t>(numbers_.size())
               ? -1
               : numbers_[static_cast<std::size_t>(logical)];
  }

 private:
  std::vector<std::int32_t> logical_;
  std::vector<std::int64_t> numbers_;  ///< [logical experts]
};
}  // namespace switchyard::runtime
