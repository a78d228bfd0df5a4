// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The tensors outside the MoE blocks as they lie in a released checkpoint.
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/model/safetensors.hpp"
#include "runtime/model/stored_matrix.hpp"
#include "runtime/model/tensor_views.hpp"
#include "runtime/transformer/tensor_source.hpp"

namespace switchyard::runtime {

/// Copies that a matrix needs (misaligned, F16) live as long as this object: make one a layer, and
/// no more than a layer's copies are held at once.
///
/// A checkpoint of a model with several towers puts "language_model." or "model.language_model." in
/// front of the names that the family alone has; either way is found.
class CheckpointTensors final : public TensorSource {
 public:
  /// Shapes as a release of the model has them, by name.
  using Shapes = std::map<std::string, std::vector<std::int64_t>>;

  /// @param used    if given, receives the name, as in the files, of every tensor that was asked
  /// for
  /// @param blocks  of F8_E4M3
  /// @param shapes  if given, what `values` wants beside the number of elements; outlives this
  explicit CheckpointTensors(std::shared_ptr<const TensorSet> tensors,
                             std::set<std::string>* used = nullptr, const ScaleBlocks& blocks = {},
                             const Shapes* shapes = nullptr)
      : tensors_(std::move(tensors)),
        used_(used),
        blocks_(blocks),
        shapes_(shapes),
        storage_(tensors_) {}

  [[nodiscard]] experts::WeightView matrix(const std::string& name, std::int64_t out,
                                           std::int64_t in, bool input_first = false) override;
  [[nodiscard]] std::vector<float> values(const std::string& name, std::int64_t elements) override;
  [[nodiscard]] bool has(const std::string& name) const override;

 private:
  [[nodiscard]] std::string in_file(const std::string& name) const;
  /// Present, and of a type that is read as it is.
  const Tensor& take(const std::string& name);

  std::shared_ptr<const TensorSet> tensors_;
  std::set<std::string>* used_;
  ScaleBlocks blocks_;
  const Shapes* shapes_;
  Storage storage_;
};
}  // namespace switchyard::runtime
