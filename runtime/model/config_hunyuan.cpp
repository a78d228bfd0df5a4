// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/config_family.hpp"
#include "runtime/model/model.pb.h"

// Tencent's two families. Settings may be lists with one element a layer.
namespace switchyard::runtime::config {
namespace v1 = switchyard::model::v1;
namespace {
void read_experts(const ConfigReader& json, std::int64_t width, std::int64_t shared, Message& m) {
  const std::int64_t dense = json.integer("intermediate_size", width);
  m.set_moe_intermediate_size(json.per_layer("moe_intermediate_size", dense));
  m.set_routed_experts(json.per_layer("num_experts", 1));
  m.set_top_k(json.per_layer("moe_topk", 1));
  m.set_shared_experts(json.per_layer("num_shared_expert", shared));
  m.set_shared_intermediate_size(m.shared_experts() * m.moe_intermediate_size());
  m.set_first_k_dense(json.integer("moe_layer_num_skipped", 0));
  if (has_dense_layers(m)) m.set_dense_intermediate_size(dense);
}
}  // namespace

// Hunyuan-Large: the vendor's modelling code. One expert: its raw probability; more: divided by
// max(sum, epsilon of float32).
void hunyuan(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 290943, .hidden = 4096, .layers = 32, .heads = 32}, m);
  read_experts(json, 11008, 1, m);
  if (!json.flag("use_mixed_mlp_moe", false)) {
    m.set_shared_experts(0);
    m.set_shared_intermediate_size(0);
  }
  if (m.top_k() > 1) {
    renormalise(1.1920928955078125e-07, m);
    m.set_normalize(v1::Normalize::clamped_sum);
  }
  if (json.flag("use_qk_norm", false)) m.set_qk_norm(v1::QkNorm::per_head);
  if (json.flag("use_cla", false)) {
    m.set_attention(v1::Attention::gqa_cla);
    m.set_cla_share_factor(json.integer("cla_share_factor", 1));
  }
  m.set_capacity_rule(v1::CapacityRule::recycle);
  m.set_capacity_factor(json.real("capacity_factor", 1));
  read_attention_bias(json, false, m);
  m.set_qk_norm_after_rope(true);
  read_positions(json, {.eps = 1e-5, .context = 2048, .eos = 2, .bos = 1}, m);
}

// The later A13B: always renormalised, always with the shared MLP.
void hunyuan_v1_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 290943, .hidden = 4096, .layers = 32, .heads = 32}, m);
  read_experts(json, 11008, 1, m);
  if (m.shared_experts() == 0) {
    m.set_shared_experts(1);
    m.set_shared_intermediate_size(m.moe_intermediate_size());
  }
  renormalise(0, m);
  m.set_qk_norm(v1::QkNorm::per_head);
  read_attention_bias(json, false, m);
  m.set_qk_norm_after_rope(true);
  read_positions(json, {.eps = 1e-5, .context = 2048, .eos = 2}, m);
}
}  // namespace switchyard::runtime::config
