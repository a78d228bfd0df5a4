// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights as released: safetensors files (one, or sharded with an index) in the layouts of the
/// families. Files are memory-mapped: a rank touches the pages of its own experts and no others.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "experts/weights.hpp"
#include "runtime/model/model.hpp"
#include "runtime/model/safetensors.hpp"
#include "runtime/model/stored_matrix.hpp"

namespace switchyard::runtime {

/// A checkpoint folder: config.json, *.safetensors, model.safetensors.index.json if sharded.
class Checkpoint {
 public:
  /// Reads config, index and headers; no tensor data.
  /// @throws std::invalid_argument  what is wrong, with the file; std::system_error for I/O
  explicit Checkpoint(const std::filesystem::path& directory);

  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const ScaleBlocks& blocks() const { return blocks_; }  ///< of F8_E4M3
  /// The MoE block of layer `layer` (a number of Model::moe_layers()). Every tensor is checked for
  /// presence, type and shape before this returns.
  /// @throws std::invalid_argument  a layer without experts; a tensor that is missing, of another
  ///                                type or shape, or one too many: "FILE: tensor NAME: unexpected"
  /// @param used  if given, receives the name of every tensor of the block, training's included
  [[nodiscard]] std::unique_ptr<experts::WeightSource> block(
      std::int64_t layer, std::set<std::string>* used = nullptr) const;
  [[nodiscard]] const std::shared_ptr<const TensorSet>& tensors() const { return tensors_; }

 private:
  Model model_;
  ScaleBlocks blocks_;  ///< of F8_E4M3
  std::shared_ptr<const TensorSet> tensors_;
};

/// The type that holds all experts of a block as they are: theirs, if it is one and its scales fit
/// panels; else float32. Reads no data.
[[nodiscard]] experts::DType own_type(experts::WeightSource& block, std::int64_t experts);
/// The same of all blocks of a checkpoint; float32 if there are none.
[[nodiscard]] experts::DType own_type(const Checkpoint& checkpoint);

/// The weights of one block among named tensors, by the layout of the model's family. Used by
/// Checkpoint and by golden files.
/// @param prefix  what precedes every weight name of the block: "model.layers.0.mlp."
/// @param used    if given, receives the name of every tensor that belongs to the block
/// @throws std::invalid_argument  "tensor model.layers.0.mlp.gate.weight: missing in FILE"
[[nodiscard]] std::unique_ptr<experts::WeightSource> block_weights(
    std::shared_ptr<const TensorSet> tensors, const Model& model, const std::string& prefix,
    std::set<std::string>* used, const ScaleBlocks& blocks = {});
}  // namespace switchyard::runtime
