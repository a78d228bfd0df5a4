// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a router decided: for every token its slots, each an expert and a weight.
#include <cstdint>
#include <vector>

#include "experts/tensor.hpp"

namespace switchyard::experts {

/// A slot that no expert computes, because a capacity rule dropped it.
inline constexpr std::int32_t kDropped = -1;

/// Slots of token t are [offsets[t], offsets[t + 1]); most routers give every token k of them, best
/// expert first; expert choice gives any number, by expert id.
struct Routing {
  std::vector<std::int64_t> offsets{0};  ///< [tokens + 1]
  std::vector<std::int32_t> experts;     ///< [slots]; kDropped, or a logical id
  std::vector<float> weights;            ///< [slots]; final: normalised and scaled; 0 where dropped
  Matrix logits;                         ///< [tokens, experts]; before transform and scoring
  Matrix scores;                         ///< [tokens, experts]; unbiased, as chosen from

  [[nodiscard]] std::int64_t tokens() const {
    return static_cast<std::int64_t>(offsets.size()) - 1;
  }
  [[nodiscard]] std::int64_t slots() const { return offsets.back(); }
};
}  // namespace switchyard::experts
