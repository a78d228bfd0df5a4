// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Takes this rank's tokens through all layers, step after step. The same object on every rank: it
/// plans and carries nothing, and rank 0's is no different from the others'.
#include <functional>
#include <memory>
#include <vector>

#include "runtime/layer/moe_layer.hpp"

namespace switchyard::runtime {

/// Experts for tokens that are not to be routed by their layer: (layer, step) -> this rank's
/// routing.
using GivenRouting = std::function<experts::Routing(std::size_t layer, std::int64_t step)>;

class Coordinator {
 public:
  /// @param timeline  told of steps, layers and counts; null: nobody
  Coordinator(comm::Group& group, std::vector<std::unique_ptr<MoeLayer>> layers,
              Timeline* timeline = nullptr);

  /// One step over all layers. Layer 0 reads the tokens; the next ones rmsnorm(input + output) of
  /// the one before, as in a pre-norm model without its attention. Every router runs, also where
  /// `given` then decides.
  /// @param tokens  [tokens of this rank, hidden]
  /// @param first   number of this rank's first token in the whole batch
  /// @param given   may be empty
  /// @return        the last layer's output, [tokens, hidden]
  [[nodiscard]] experts::Matrix step(std::int64_t step, std::int64_t first,
                                     experts::MatrixView<const float> tokens,
                                     const GivenRouting& given);

  [[nodiscard]] std::size_t layers() const { return layers_.size(); }
  [[nodiscard]] const MoeLayer& layer(std::size_t i) const { return *layers_[i]; }
  [[nodiscard]] MoeLayer& layer(std::size_t i) { return *layers_[i]; }
  void reset_stats();
  /// Summed over the layers.
  [[nodiscard]] LayerStats stats() const;
  [[nodiscard]] PackStats packing() const;

 private:
  /// What a layer has counted since `before`, to the timeline.
  void count(const MoeLayer& layer, const LayerStats& before);

  comm::Group& group_;
  std::vector<std::unique_ptr<MoeLayer>> layers_;
  Timeline* timeline_;
  experts::Routing overruled_;  ///< what a router chose where the routing is given
  experts::Matrix inputs_[2];   ///< of the layers after the first, in turn
};
}  // namespace switchyard::runtime
