// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_list.hpp"

namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;

void list_router(TensorList& list, const std::string& prefix) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  const std::string at = prefix + n.router;
  const std::int64_t d = m.hidden_size();
  const std::int64_t e = m.routed_experts() + m.zero_experts();
  switch (m.logits()) {
    case v1::Logits::mlp_tanh:
      list.linear(at + ".0", e, d);
      list.linear(at + ".2", e, e);
      list.linear(prefix + n.block + "gate.weight_noise", e, d);  // for training, yet released
      break;
    case v1::Logits::attention:
      for (const char* name : {".query", ".key", ".value"}) list.linear(at + name, e, d);
      break;
    default:
      list.add(at + n.router_weight, n.input_first ? std::vector{d, e} : std::vector{e, d});
  }
  if (m.router_bias()) list.add(at + ".bias", {e});
  if (m.selection_bias()) {
    list.add(prefix + n.selection_bias,
             n.selection_bias_is_row ? std::vector<std::int64_t>{1, e} : std::vector{e});
  }
}

/// Experts in a tensor each.
void list_separate(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  for (std::int64_t x = 0; x < m.routed_experts(); ++x) {
    list.network(at + std::to_string(x) + ".", n.gate, n.up, n.down, m.moe_intermediate_size(),
                 Part::kExpert);
  }
}

/// How many matrices stand before the activation, all together.
std::int64_t fused_matrices(const Message& m) {
  switch (m.expert_unit()) {
    case v1::ExpertUnit::plain:
      return 1;
    case v1::ExpertUnit::trilinear:
      return 3;
    default:
      return 2;
  }
}

/// All experts of the block in a few tensors, or in layouts that only one family has.
void list_stacked(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  const std::int64_t d = m.hidden_size();
  const std::int64_t f = m.moe_intermediate_size();
  const std::int64_t e = m.routed_experts();
  const std::int64_t before = fused_matrices(m) * f;
  const std::int64_t gates = before - f;  // 0 for a plain unit
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    list.add(at + name + n.fused_weight, std::move(shape), Part::kExpert);
  };
  switch (n.layout) {
    case ExpertLayout::kFusedEach:
      for (std::int64_t x = 0; x < e; ++x) {
        list.linear(at + std::to_string(x) + "." + n.up, before, d, false, Part::kExpert);
        list.linear(at + std::to_string(x) + "." + n.down, d, f, false, Part::kExpert);
      }
      break;
    case ExpertLayout::kIndexedLast:
      for (std::int64_t x = 0; x < e; ++x) {
        if (gates > 0) add(n.gate + "." + std::to_string(x), {gates, d});
        add(n.up + "." + std::to_string(x), {f, d});
        add(n.down + "." + std::to_string(x), {d, f});
      }
      break;
    case ExpertLayout::kFusedRows:
      add(n.up, {e, before, d});
      add(n.down, {e, d, f});
      break;
    case ExpertLayout::kFusedColumns:
      add(n.up, {e, d, before});
      add(n.down, {e, f, d});
      break;
    case ExpertLayout::kFlatRows:
      if (gates > 0) add(n.gate, {e * gates, d});
      add(n.up, {e * f, d});
      add(n.down, {e * f, d});
      break;
    default:  // kStacked, kSplitColumns
      if (gates > 0) add(n.gate, {e, d, gates});
      add(n.up, {e, d, f});
      add(n.down, {e, f, d});
  }
  if (m.expert_bias() == v1::ExpertBias::yes) {
    add(n.up + "_bias", {e, before});
    add(n.down + "_bias", {e, d});
  }
}
}  // namespace

void list_block(TensorList& list, const std::string& prefix) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  const std::string block = prefix + n.block;
  // Layouts that fuse experts keep ordinary names where there is one network.
  const bool separate = n.layout == ExpertLayout::kSeparate;
  const std::string gate = separate ? n.gate : "gate_proj";
  const std::string up = separate ? n.up : "up_proj";
  const std::string down = separate ? n.down : "down_proj";

  list_router(list, prefix);
  separate ? list_separate(list, block + n.experts) : list_stacked(list, block + n.experts);
  if (m.shared_intermediate_size() > 0) {
    list.network(block + n.shared, gate, up, down, m.shared_intermediate_size());
  }
  if (m.shared_expert_gate() == v1::SharedExpertGate::sigmoid) {
    list.linear(block + "shared_expert_gate", 1, m.hidden_size());
  }
  if (m.dense_residual() != v1::DenseResidual::none) {
    list.norm(prefix + (n.dense_norm.empty() ? "residual_layernorm" : n.dense_norm),
              m.hidden_size());
    list.network(prefix + (n.always_on.empty() ? "residual_mlp." : n.always_on), gate, up, down,
                 m.dense_intermediate_size());
  }
  if (m.expert_bias() == v1::ExpertBias::shared_output_bias) {
    list.add(block + "bias", {m.hidden_size()});
  }
}
}  // namespace switchyard::runtime
