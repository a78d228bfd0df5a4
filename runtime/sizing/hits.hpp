// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How often a token's experts lie in a given set of places, if the router has no favourites: k of
/// E experts at random, inside a random choice of groups where the model limits them.
#include <cstdint>
#include <span>
#include <vector>

#include "experts/router/spec.hpp"

namespace switchyard::runtime {

/// A router without favourites. Immutable.
class UniformRouter {
 public:
  /// @param top_k  at most the experts of the groups that are kept
  UniformRouter(std::int64_t experts, std::int64_t top_k, std::int64_t groups,
                std::int64_t groups_kept);
  explicit UniformRouter(const experts::RouterSpec& spec);

  [[nodiscard]] std::int64_t top_k() const { return top_k_; }
  /// Probability that at least one of the token's experts is among those; exact up to rounding.
  /// @param experts  distinct ids in [0, experts)
  [[nodiscard]] double hits(std::span<const std::int32_t> experts) const;
  /// Expected number of the token's experts among `count` of them.
  [[nodiscard]] double slots(std::int64_t count) const {
    return static_cast<double>(top_k_ * count) / static_cast<double>(experts_);
  }

 private:
  std::int64_t experts_;
  std::int64_t top_k_;
  std::int64_t groups_;
  std::int64_t kept_;
};
}  // namespace switchyard::runtime
