// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/model/config_family.hpp"
#include "runtime/model/model.pb.h"

namespace switchyard::runtime::config {
namespace v1 = switchyard::model::v1;
namespace {
constexpr std::int64_t kMostLayers = 4096;  // before anything is listed a layer
}

void read_common(const ConfigReader& json, const Defaults& defaults, Message& m) {
  m.set_vocab_size(json.integer("vocab_size", defaults.vocab));
  m.set_hidden_size(json.integer("hidden_size", defaults.hidden));
  m.set_num_layers(json.integer("num_hidden_layers", defaults.layers));
  if (m.num_layers() > kMostLayers) json.refuse("num_hidden_layers", "at most 4096");
  m.set_num_heads(json.integer("num_attention_heads", defaults.heads));
  if (m.num_heads() < 1) json.refuse("num_attention_heads", "at least 1");
  const std::int64_t kv_heads = defaults.kv_heads > 0 && !json.is_null("num_key_value_heads")
                                    ? defaults.kv_heads
                                    : m.num_heads();
  m.set_num_kv_heads(json.integer("num_key_value_heads", kv_heads));
  // The settings of a single block leave attention out; its defaults must not get in the way.
  const std::int64_t head_dim = defaults.head_dim > 0
                                    ? defaults.head_dim
                                    : std::max<std::int64_t>(m.hidden_size() / m.num_heads(), 1);
  m.set_head_dim(json.integer("head_dim", head_dim));
  m.set_tie_embeddings(json.flag("tie_word_embeddings", defaults.tied));
  read_activation(json, "hidden_act", m);
}

void read_latent_attention(const ConfigReader& json, Message& m) {
  m.set_attention(v1::Attention::mla);
  m.set_q_lora_rank(json.is_null("q_lora_rank") ? 0 : json.integer("q_lora_rank", 1536));
  m.set_kv_lora_rank(json.integer("kv_lora_rank", 512));
  m.set_qk_nope_head_dim(json.integer("qk_nope_head_dim", 128));
  m.set_qk_rope_head_dim(json.integer("qk_rope_head_dim", 64));
  m.set_v_head_dim(json.integer("v_head_dim", 128));
  m.set_head_dim(m.qk_nope_head_dim() + m.qk_rope_head_dim());
}

void read_attention_bias(const ConfigReader& json, bool missing, Message& m) {
  m.set_attn_bias(json.flag("attention_bias", missing) ? v1::AttnBias::yes : v1::AttnBias::no);
}

void read_activation(const ConfigReader& json, const std::string& key, Message& m) {
  const std::string name = json.text(key, "silu");
  if (name == "silu" || name == "swish" || name == "swiglu") {
    m.set_expert_activation(v1::ExpertActivation::swiglu);
  } else if (name == "gelu" || name == "gelu_python") {
    m.set_expert_activation(v1::ExpertActivation::geglu);
  } else if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") {
    m.set_expert_activation(v1::ExpertActivation::geglu_tanh);
  } else if (name == "relu") {
    m.set_expert_activation(v1::ExpertActivation::reglu);
  } else {
    json.refuse(key, "silu, gelu, gelu_pytorch_tanh, gelu_new or relu");
  }
}

void read_shared(const ConfigReader& json, const std::string& key, std::int64_t missing,
                 Message& m) {
  m.set_shared_experts(json.is_null(key) ? 0 : json.integer(key, missing));
  m.set_shared_intermediate_size(m.shared_experts() * m.moe_intermediate_size());
}

void set_layer_step(std::int64_t step, Message& m) {
  m.set_moe_every(std::max<std::int64_t>(step, 1));
  m.set_moe_offset(m.moe_every() - 1);
}

bool has_dense_layers(const Message& m) {
  return m.first_k_dense() > 0 || m.moe_every() > 1 || m.dense_layers_size() > 0;
}

void renormalise(double eps, Message& m) {
  m.set_normalize_topk(v1::NormalizeTopk::after_topk);
  m.set_norm_eps(eps);
}

void set_moe_layers(const std::vector<std::int64_t>& layers, Message& m) {
  for (std::int64_t layer = 0; layer < m.num_layers(); ++layer) {
    if (std::find(layers.begin(), layers.end(), layer) == layers.end()) m.add_dense_layers(layer);
  }
}
}  // namespace switchyard::runtime::config
