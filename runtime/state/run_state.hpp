// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The weights that a run changes, of all its layers, as this rank keeps them.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/state/layer_state.hpp"

namespace switchyard::runtime {

class RunState {
 public:
  /// Layers that are added have this placement at first.
  RunState(const Placement& placement, int rank);

  /// Takes the next layer's weights to be changed. @return  what the layer is to be packed from
  std::shared_ptr<LayerState> add(const experts::BlockSpec& spec, std::int64_t layer,
                                  std::shared_ptr<experts::WeightSource> start);
  /// Sets all to what the run begins with.
  void begin();
  /// What a step does to them, here and in what the layers have packed. On every rank between two
  /// steps, with the same key.
  void change(const StepKey& key, Coordinator& layers);

  [[nodiscard]] const std::vector<std::shared_ptr<LayerState>>& layers() const { return layers_; }
  /// Of the ith layer; of all before the first change.
  [[nodiscard]] const Placement& placement(std::size_t layer = 0) const {
    return layer < placements_.size() ? placements_[layer] : first_;
  }
  /// From now on the ith layer has this one: LayerState::rehost.
  void rehost(std::size_t layer, const Placement& placement,
              std::map<std::int32_t, NetworkBlock> more = {});
  /// Whether this rank is the one that saves a network: of a layer's router and shared experts one
  /// of all ranks, of an expert one of its hosts; by turns, so that each has its part.
  [[nodiscard]] bool saves(std::int64_t layer, std::int64_t id) const;

  /// SHA-256 (hex) of one line a network, "layer.3.expert.17 HEX\n", layers and ids rising, router
  /// and shared experts first; HEX is the SHA-256 of its tensors, float32 little-endian. The same
  /// on every rank and at any rank count. Collective.
  /// @throws std::logic_error  copies of a network differ
  [[nodiscard]] std::string digest(comm::Group& group) const;

 private:
  Placement first_;
  std::vector<Placement> placements_;  ///< [layers]
  int rank_;
  std::vector<std::shared_ptr<LayerState>> layers_;
};
}  // namespace switchyard::runtime
