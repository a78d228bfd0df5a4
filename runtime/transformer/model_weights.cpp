// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/model_weights.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>
#include <string_view>

#include "runtime/model/checked_json.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"

namespace switchyard::runtime {
namespace {

/// Of a layer after the last one, in the families that predict further tokens with it.
bool is_behind_the_model(const Model& model, const TensorNames& names, const std::string& name) {
  constexpr std::array<std::string_view, 3> kPredictFurther = {"deepseek_v3", "glm4_moe",
                                                               "glm_moe_dsa"};
  if (std::ranges::find(kPredictFurther, model.family()) == kPredictFurther.end()) return false;
  const std::size_t at = name.find(names.layer);
  if (at == std::string::npos) return false;
  const char* const first = name.data() + at + names.layer.size();
  std::int64_t layer = -1;
  static_cast<void>(std::from_chars(first, name.data() + name.size(), layer));
  return layer >= model.num_layers();
}

bool is_beside_the_model(const Model& model, const std::string& name) {
  constexpr std::array<std::string_view, 7> kOthers = {
      "vision_tower.",          "vision_model.", "vision_encoder.",
      "multi_modal_projector.", "mtp.",          "vision_language_adapter.",
      "patch_merger."};
  for (const std::string_view other : kOthers) {
    if (name.starts_with(other) || name.starts_with("model." + std::string(other))) return true;
  }
  const TensorNames names = tensor_names(model.family());
  return name.ends_with(".inv_freq") || name.ends_with(".masked_bias") ||
         (model.message().tie_embeddings() && name == names.head + names.weight) ||
         is_behind_the_model(model, names, name);
}
}  // namespace

CheckpointWeights::CheckpointWeights(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  for (TensorShape& tensor : model().tensors()) {
    shapes_.emplace(std::move(tensor.name), std::move(tensor.shape));
  }
}

std::unique_ptr<TensorSource> CheckpointWeights::tensors() {
  return std::make_unique<CheckpointTensors>(checkpoint_.tensors(), &used_, checkpoint_.blocks(),
                                             &shapes_);
}

std::unique_ptr<experts::WeightSource> CheckpointWeights::block(std::int64_t layer) {
  return checkpoint_.block(layer, &used_);
}

void CheckpointWeights::finish() {
  for (const std::string& name : checkpoint_.tensors()->names()) {
    if (used_.contains(name) || is_beside_the_model(model(), name)) continue;
    throw std::invalid_argument(checkpoint_.tensors()->at(name).file + ": tensor " + shown(name) +
                                ": unexpected, want only what a " + model().family() +
                                " model of this config has");
  }
}
}  // namespace switchyard::runtime
