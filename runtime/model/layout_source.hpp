// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The weights of one block, found among named tensors by the layout of its family.
#include <memory>
#include <set>
#include <string>

#include "experts/weights.hpp"
#include "runtime/model/safetensors.hpp"
#include "runtime/model/stored_matrix.hpp"

namespace switchyard::runtime {

/// Where a block stands in its tensors.
struct BlockPlace {
  std::string family;
  std::string prefix;       ///< what precedes every weight name: "model.layers.0.mlp."
  std::string router;       ///< full name of the router's weight; empty: where the family has it
  ScaleBlocks blocks = {};  ///< of F8_E4M3
};

/// Checks presence, type and shape of every tensor that the spec calls for; reads none of their
/// data. The source may be asked for experts from several threads at once.
/// @param router_bias, selection_bias  whether the router has them
/// @param used  if given, receives the name of every tensor that belongs to the block
/// @throws std::invalid_argument  naming file and tensor
[[nodiscard]] std::unique_ptr<experts::WeightSource> block_source(
    std::shared_ptr<const TensorSet> tensors, const BlockPlace& place,
    const experts::BlockSpec& spec, bool router_bias, bool selection_bias,
    std::set<std::string>* used);

/// The prefix of layer `layer` in a whole checkpoint: the family's first under which a router lies,
/// or its first at all.
[[nodiscard]] std::string find_prefix(const TensorSet& tensors, const std::string& family,
                                      std::int64_t layer);
}  // namespace switchyard::runtime
