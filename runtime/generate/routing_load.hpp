// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How evenly the routers of a whole model spread its tokens over experts, layer by layer.
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/transformer/transformer.hpp"

namespace switchyard::runtime {

/// One MoE layer, all ranks together.
struct LayerLoad {
  std::int64_t layer = 0;
  std::int64_t slots = 0;               ///< (token, expert) pairs
  std::int64_t dropped = 0;             ///< of these, by a capacity rule
  std::int64_t most = 0;                ///< slots of the busiest expert
  std::int64_t busiest = 0;             ///< which that is; the lowest of equals
  std::int64_t unused = 0;              ///< experts without a slot
  double balancedness = 1;              ///< mean over most
  std::vector<std::int64_t> load = {};  ///< [experts]
};

/// Counts what the routers chose on this rank.
class RoutingLoad final : public Witness {
 public:
  void saw(std::int64_t layer, std::string_view what,
           experts::MatrixView<const float> rows) override;
  void routed(std::int64_t layer, const experts::Routing& routing) override;
  /// Everybody's counts. Collective.
  [[nodiscard]] std::vector<LayerLoad> sum(comm::Group& group) const;

 private:
  std::map<std::int64_t, std::vector<std::int64_t>> counts_;  ///< by layer: dropped, then experts
};
}  // namespace switchyard::runtime
