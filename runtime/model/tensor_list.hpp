// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The tensors of a whole model while they are being listed: names, shapes, and what each is part
/// of.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/model/model.hpp"
#include "runtime/model/tensor_names.hpp"

namespace switchyard::runtime {

/// What a tensor counts as when active parameters are summed.
enum class Part {
  kAlways,  ///< every token
  kExpert,  ///< top_k in routed_experts of its elements
  kInput,   ///< input embedding (of a tied table: none, it is the output's)
  kOutput,  ///< output embedding
};

struct ListedTensor {
  TensorShape tensor;
  Part part = Part::kAlways;
};

/// Adds tensors by the suffixes and orientation of a family.
class TensorList {
 public:
  TensorList(const switchyard::model::v1::Model& model, TensorNames names)
      : model_(model), names_(std::move(names)) {}

  [[nodiscard]] const switchyard::model::v1::Model& model() const { return model_; }
  [[nodiscard]] const TensorNames& names() const { return names_; }

  void add(std::string name, std::vector<std::int64_t> shape, Part part = Part::kAlways);
  /// A matrix [out, in], and its bias [out].
  void linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias = false,
              Part part = Part::kAlways);
  /// A norm over `width` elements, of the model's kind.
  void norm(const std::string& name, std::int64_t width);
  /// A norm that is RMS whatever the model's kind.
  void rms_norm(const std::string& name, std::int64_t width);
  /// The matrices of one expert-like network under `prefix`, with the family's names.
  void network(const std::string& prefix, const std::string& gate, const std::string& up,
               const std::string& down, std::int64_t width, Part part = Part::kAlways);

  [[nodiscard]] std::vector<ListedTensor> take() { return std::move(tensors_); }

 private:
  const switchyard::model::v1::Model& model_;
  TensorNames names_;
  std::vector<ListedTensor> tensors_;
};

/// Attention of one layer (and what stands in its place in hybrids) under `prefix`, the layer's.
/// @param sublayer  "" or "0." and alike, where a layer has several
void list_attention(TensorList& list, const std::string& prefix, const std::string& sublayer,
                    std::int64_t layer);
/// Router, experts and always-on parts of one MoE layer.
void list_block(TensorList& list, const std::string& prefix);

/// Every tensor of the model, in order of layers.
[[nodiscard]] std::vector<ListedTensor> list_tensors(const Model& model);
}  // namespace switchyard::runtime
