// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/tensor_list.hpp"

#include <algorithm>
#include <utility>

#include "runtime/model/model.pb.h"

namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;

/// Pairs of attention and dense MLP that LongCat runs beside its experts.
void list_sublayers(TensorList& list, const std::string& prefix, std::int64_t layer) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  for (std::int64_t i = 0; i < m.sublayers(); ++i) {
    const std::string number = std::to_string(i);
    for (const std::string& norm : n.norms)
      list.norm(prefix + norm + "." + number, m.hidden_size());
    list_attention(list, prefix, number + ".", layer);
    list.network(prefix + n.dense + number + ".", n.gate, n.up, n.down,
                 m.dense_intermediate_size());
  }
}

void list_layer(TensorList& list, std::int64_t layer, bool has_experts) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  const std::string prefix = n.layer + std::to_string(layer) + n.separator;
  if (m.sublayers() > 0) {
    list_sublayers(list, prefix, layer);
  } else {
    for (const std::string& norm : n.norms) list.norm(prefix + norm, m.hidden_size());
    list_attention(list, prefix, "", layer);
  }
  if (has_experts) {
    list_block(list, prefix);
  } else if (m.sublayers() == 0) {
    const std::int64_t width = m.dense_layer_intermediate_size() > 0
                                   ? m.dense_layer_intermediate_size()
                                   : m.dense_intermediate_size();
    // Layouts that fuse experts keep ordinary names in dense layers.
    const bool separate = n.layout == ExpertLayout::kSeparate;
    list.network(prefix + n.dense, separate ? n.gate : "gate_proj", separate ? n.up : "up_proj",
                 separate ? n.down : "down_proj", width);
  }
}
}  // namespace

void TensorList::add(std::string name, std::vector<std::int64_t> shape, Part part) {
  tensors_.push_back({{std::move(name), std::move(shape)}, part});
}

void TensorList::linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias,
                        Part part) {
  std::vector<std::int64_t> shape{out, in};
  if (names_.input_first) std::swap(shape[0], shape[1]);
  add(name + names_.weight, std::move(shape), part);
  if (bias) add(name + ".bias", {out}, part);
}

void TensorList::norm(const std::string& name, std::int64_t width) {
  rms_norm(name, width);
  if (model_.norm() == v1::Norm::layernorm_bias) add(name + ".bias", {width});
}

void TensorList::rms_norm(const std::string& name, std::int64_t width) {
  add(name + names_.norm_weight, {width});
}

void TensorList::network(const std::string& prefix, const std::string& gate, const std::string& up,
                         const std::string& down, std::int64_t width, Part part) {
  const std::int64_t hidden = model_.hidden_size();
  const bool bias = model_.expert_bias() == v1::ExpertBias::yes;
  if (model_.expert_unit() != v1::ExpertUnit::plain) {
    // A trilinear unit's first matrix gives both factors of the gated product.
    const std::int64_t halves = model_.expert_unit() == v1::ExpertUnit::trilinear ? 2 : 1;
    linear(prefix + gate, halves * width, hidden, bias, part);
  }
  linear(prefix + up, width, hidden, bias, part);
  linear(prefix + down, hidden, width, bias, part);
}

std::vector<ListedTensor> list_tensors(const Model& model) {
  const Message& m = model.message();
  TensorList list(m, tensor_names(m.family()));
  const TensorNames& n = list.names();
  list.add(n.embedding, {m.vocab_size(), m.hidden_size()},
           m.tie_embeddings() ? Part::kOutput : Part::kInput);
  const std::vector<std::int64_t> moe_layers = model.moe_layers();
  for (std::int64_t layer = 0; layer < m.num_layers(); ++layer) {
    list_layer(list, layer, std::binary_search(moe_layers.begin(), moe_layers.end(), layer));
  }
  list.norm(n.final_norm, m.hidden_size());
  if (!m.tie_embeddings()) {
    list.linear(n.head, m.vocab_size(), m.hidden_size(), false, Part::kOutput);
  }
  if (m.lm_head_bias()) list.add(n.head + ".bias", {m.vocab_size()});
  return list.take();
}
}  // namespace switchyard::runtime
