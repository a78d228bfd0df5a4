// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The steps of DeepSeek's expert-parallel load balancer as published, ties and all.
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard::runtime {

/// What a layer is balanced over.
struct EplbShape {
  std::int64_t copies = 0;  ///< physical experts, a multiple of ranks, at least the experts
  std::int64_t groups = 1;  ///< of experts, a divisor of the experts
  std::int64_t nodes = 1;   ///< a divisor of ranks; of groups too, or it is ignored
  std::int64_t ranks = 1;
};

/// Items into packs of equal count: the heaviest first, each to the lightest pack with room.
/// @param weights  [items], a multiple of packs
/// @return         [items], the pack of each
[[nodiscard]] std::vector<std::int64_t> pack_equal(std::span<const double> weights,
                                                   std::int64_t packs);

/// The logical expert of every physical one; slots of rank r are [r, r + 1) x copies / ranks.
/// May name an expert twice on a rank, as the published algorithm does.
/// @throws std::invalid_argument  the shape does not divide
[[nodiscard]] std::vector<std::int32_t> eplb_physical(std::span<const double> rows,
                                                      const EplbShape& shape);
}  // namespace switchyard::runtime
