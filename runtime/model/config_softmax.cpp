// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/model/config_family.hpp"
#include "runtime/model/model.pb.h"

// Families that take a softmax over all experts, then the best k: raw or divided by their sum.
// Keys and defaults are those of the official config classes (huggingface/transformers and the
// vendors' releases).
namespace switchyard::runtime::config {
namespace v1 = switchyard::model::v1;
namespace {

/// Qwen's rule for layers, and the dense MLP of the others.
void read_qwen_layers(const ConfigReader& json, std::int64_t dense_width, Message& m) {
  set_layer_step(json.integer("decoder_sparse_step", 1), m);
  for (const std::int64_t layer : json.integers("mlp_only_layers")) m.add_dense_layers(layer);
  if (has_dense_layers(m)) {
    m.set_dense_intermediate_size(json.integer("intermediate_size", dense_width));
  }
}

/// One shared expert of its own width, times sigmoid(w x).
void read_qwen_shared(const ConfigReader& json, std::int64_t missing, Message& m) {
  m.set_shared_intermediate_size(json.integer("shared_expert_intermediate_size", missing));
  if (m.shared_intermediate_size() == 0) return;
  m.set_shared_experts(1);
  m.set_shared_expert_gate(v1::SharedExpertGate::sigmoid);
}

/// A window in all layers; 0 and null: none.
void read_window(const ConfigReader& json, std::int64_t missing, Message& m) {
  m.set_attention_window(json.is_null("sliding_window") ? 0
                                                        : json.integer("sliding_window", missing));
}
}  // namespace

void mixtral(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 32000, .hidden = 4096, .layers = 32, .heads = 32, .kv_heads = 8}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 14336));
  m.set_routed_experts(json.integer("num_local_experts", 8));
  m.set_top_k(json.integer("num_experts_per_tok", 2));
  renormalise(0, m);
  read_window(json, 0, m);
  read_positions(json, {.eps = 1e-5, .theta = 1e6, .context = 131072, .eos = 2, .bos = 1}, m);
}

void qwen2_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 151936, .hidden = 2048, .layers = 24, .heads = 16, .kv_heads = 16},
              m);
  m.set_moe_intermediate_size(json.integer("moe_intermediate_size", 1408));
  m.set_routed_experts(json.integer("num_experts", 60));
  m.set_top_k(json.integer("num_experts_per_tok", 4));
  read_qwen_layers(json, 5632, m);
  read_qwen_shared(json, 5632, m);
  if (json.flag("norm_topk_prob", false)) renormalise(0, m);
  if (json.flag("qkv_bias", true)) m.set_attn_bias(v1::AttnBias::qkv);
  read_positions(json, {.context = 32768}, m);
  if (!json.flag("use_sliding_window", false)) return;
  read_window(json, 4096, m);  // from layer max_window_layers on
  if (read_full_layers(json, m)) return;
  const std::int64_t whole = std::min(json.integer("max_window_layers", 28), m.num_layers());
  for (std::int64_t layer = 0; layer < whole; ++layer) m.add_full_attention_layers(layer);
}

void qwen3_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 151936, .hidden = 2048, .layers = 24, .heads = 32, .kv_heads = 4}, m);
  m.set_moe_intermediate_size(json.integer("moe_intermediate_size", 768));
  m.set_routed_experts(json.integer("num_experts", 128));
  m.set_top_k(json.integer("num_experts_per_tok", 8));
  read_qwen_layers(json, 6144, m);
  if (json.flag("norm_topk_prob", false)) renormalise(0, m);
  read_attention_bias(json, false, m);
  m.set_qk_norm(v1::QkNorm::per_head);
  if (json.flag("use_sliding_window", false)) read_window(json, 4096, m);
  read_positions(json, {.context = 32768}, m);
}

void qwen3_next(const ConfigReader& json, Message& m) {
  read_common(
      json,
      {.vocab = 151936, .hidden = 2048, .layers = 48, .heads = 16, .kv_heads = 2, .head_dim = 256},
      m);
  m.set_moe_intermediate_size(json.integer("moe_intermediate_size", 512));
  m.set_routed_experts(json.integer("num_experts", 512));
  m.set_top_k(json.integer("num_experts_per_tok", 10));
  read_qwen_layers(json, 5632, m);
  read_qwen_shared(json, 512, m);
  if (json.flag("norm_topk_prob", true)) renormalise(0, m);
  read_attention_bias(json, false, m);
  m.set_qk_norm(v1::QkNorm::per_head);
  m.set_attention(v1::Attention::delta_hybrid);
  m.set_attn_every(json.integer("full_attention_interval", 4));
  m.set_attn_offset(m.attn_every() - 1);
  m.set_linear_conv(json.integer("linear_conv_kernel_dim", 4));
  m.set_linear_key_heads(json.integer("linear_num_key_heads", 16));
  m.set_linear_value_heads(json.integer("linear_num_value_heads", 32));
  m.set_linear_key_head_dim(json.integer("linear_key_head_dim", 128));
  m.set_linear_value_head_dim(json.integer("linear_value_head_dim", 128));
}

void olmoe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 50304, .hidden = 2048, .layers = 16, .heads = 16}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 2048));
  m.set_routed_experts(json.integer("num_experts", 64));
  m.set_top_k(json.integer("num_experts_per_tok", 8));
  if (json.flag("norm_topk_prob", false)) renormalise(0, m);
  read_attention_bias(json, false, m);
  m.set_qk_norm(v1::QkNorm::full_width);
  m.set_qkv_clip(json.real("clip_qkv", 0));
  read_positions(json, {.eps = 1e-5, .context = 4096, .eos = 50279}, m);
}

void jamba(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 65536, .hidden = 4096, .layers = 32, .heads = 32, .kv_heads = 8}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 14336));
  m.set_routed_experts(json.integer("num_experts", 16));
  m.set_top_k(json.integer("num_experts_per_tok", 2));
  m.set_moe_every(json.integer("expert_layer_period", 2));
  m.set_moe_offset(json.integer("expert_layer_offset", 1));
  if (has_dense_layers(m)) m.set_dense_intermediate_size(m.moe_intermediate_size());
  m.set_attention(v1::Attention::mamba_hybrid);
  m.set_attn_every(json.integer("attn_layer_period", 8));
  m.set_attn_offset(json.integer("attn_layer_offset", 4));
  m.set_mamba_inner(json.integer("mamba_expand", 2) * m.hidden_size());
  m.set_mamba_state(json.integer("mamba_d_state", 16));
  m.set_mamba_conv(json.integer("mamba_d_conv", 4));
  const bool automatic = !json.has("mamba_dt_rank") || json.is_text("mamba_dt_rank", "auto");
  m.set_mamba_dt_rank(automatic ? (m.hidden_size() + 15) / 16 : json.integer("mamba_dt_rank"));
  if (!json.flag("mamba_conv_bias", true)) json.refuse("mamba_conv_bias", "true");
  if (json.flag("mamba_proj_bias", false)) json.refuse("mamba_proj_bias", "false");
  m.set_rms_norm_eps(json.real("rms_norm_eps", 1e-6));
  m.set_rope(v1::Rope::none);
  m.set_max_context(json.integer("max_position_embeddings", 262144));
  read_ends(json, {.eos = 2, .bos = 1}, m);
}

void arctic(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 32000, .hidden = 4096, .layers = 32, .heads = 32}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 14336));
  m.set_routed_experts(json.integer("num_local_experts", 8));
  m.set_top_k(json.integer("num_experts_per_tok", 1));
  if (m.top_k() > 1) renormalise(0, m);
  set_layer_step(json.integer("moe_layer_frequency", 2), m);
  if (json.flag("parallel_attn_mlp_res", false)) {
    m.set_dense_residual(v1::DenseResidual::parallel);
    m.set_dense_intermediate_size(m.hidden_size());
  }
  if (has_dense_layers(m)) m.set_dense_layer_intermediate_size(m.moe_intermediate_size());
  m.set_capacity_rule(v1::CapacityRule::deepspeed_top2);
  m.set_capacity_factor(json.real("moe_train_capacity_factor", 1));
  m.set_eval_capacity_factor(json.real("moe_eval_capacity_factor", 1));
  read_window(json, 0, m);
  read_positions(json, {.eps = 1e-5, .theta = 1e6, .context = 4096, .eos = 2, .bos = 1}, m);
}

void dbrx(const ConfigReader& json, Message& m) {
  const ConfigReader ffn = json.object("ffn_config");
  m.set_vocab_size(json.integer("vocab_size", 32000));
  m.set_hidden_size(json.integer("d_model", 2048));
  m.set_num_layers(json.integer("n_layers", 24));
  m.set_num_heads(json.integer("n_heads", 16));
  if (m.num_heads() < 1) json.refuse("n_heads", "at least 1");
  const ConfigReader attention = json.object("attn_config");
  m.set_num_kv_heads(attention.integer("kv_n_heads", 1));
  if (attention.has("clip_qkv")) m.set_qkv_clip(attention.real("clip_qkv", 0));
  m.set_rms_norm_eps(1e-5);  // nn.LayerNorm's default; the config has no key for it
  m.set_rope_theta(attention.real("rope_theta", json.real("rope_theta", 10000)));
  m.set_max_context(json.integer("max_seq_len", 2048));
  read_ends(json, {}, m);
  m.set_head_dim(m.hidden_size() < m.num_heads() ? 1 : m.hidden_size() / m.num_heads());
  m.set_norm(v1::Norm::layernorm);
  m.set_moe_intermediate_size(ffn.integer("ffn_hidden_size", 3584));
  m.set_routed_experts(ffn.integer("moe_num_experts", 4));
  m.set_top_k(ffn.integer("moe_top_k", 1));
  read_activation(ffn.object("ffn_act_fn"), "name", m);
  if (ffn.is_null("moe_normalize_expert_weights")) return;  // null: raw; missing: the 1-norm
  renormalise(0, m);
  m.set_normalize(v1::Normalize::p_norm);
  m.set_norm_p(ffn.real("moe_normalize_expert_weights", 1));
}

void grok1(const ConfigReader& json, Message& m) {
  read_common(
      json,
      {.vocab = 131072, .hidden = 6144, .layers = 64, .heads = 48, .kv_heads = 8, .tied = true}, m);
  m.set_expert_activation(v1::ExpertActivation::geglu_tanh);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 32768));
  m.set_routed_experts(json.integer("num_experts", 8));
  m.set_top_k(json.integer("num_selected_experts", json.integer("num_experts_per_tok", 2)));
  m.set_norm_placement(v1::NormPlacement::sandwich);
  read_positions(json, {.eps = 1e-5, .context = 8192, .eos = 2}, m);
  m.set_attention_scale(json.real("attn_output_multiplier", 0.08838834764831845));
  m.set_attention_logit_cap(json.real("max_attn_value", 30));
  m.set_embedding_multiplier(json.real("embedding_multiplier_scale", 78.38367176906169));
  m.set_logit_multiplier(json.real("output_multiplier_scale", 0.5773502691896257));
}

void ernie4_5_moe(const ConfigReader& json, Message& m) {
  read_common(
      json,
      {.vocab = 103424, .hidden = 2560, .layers = 28, .heads = 20, .kv_heads = 4, .tied = true}, m);
  m.set_moe_intermediate_size(json.integer("moe_intermediate_size", 1536));
  m.set_routed_experts(json.integer("moe_num_experts", 64));
  m.set_top_k(json.integer("moe_k", 6));
  read_shared(json, "moe_num_shared_experts", 2, m);
  m.set_first_k_dense(json.integer("moe_layer_start_index", 1));
  set_layer_step(json.integer("moe_layer_interval", 1), m);
  const std::int64_t end = json.integer("moe_layer_end_index", -1);
  for (std::int64_t layer = end + 1; end >= 0 && layer < m.num_layers(); ++layer) {
    m.add_dense_layers(layer);
  }
  if (has_dense_layers(m)) {
    m.set_dense_intermediate_size(json.integer("intermediate_size", 12288));
  }
  m.set_selection_bias(true);
  renormalise(json.real("moe_norm_min", 1e-12), m);
  m.set_normalize(v1::Normalize::clamped_sum);
  if (!json.flag("use_bias", false)) return;
  m.set_expert_bias(v1::ExpertBias::yes);
  m.set_attn_bias(v1::AttnBias::yes);
  m.set_lm_head_bias(true);
}

void skywork_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 65532, .hidden = 4608, .layers = 52, .heads = 36}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 12288));
  m.set_routed_experts(json.per_layer("num_local_experts", json.per_layer("num_experts", 16)));
  m.set_top_k(json.integer("num_experts_per_tok", 2));
  if (json.flag("moe_use_logits_norm", true)) {
    m.set_logit_transform(v1::LogitTransform::standardise);
    m.set_logit_transform_value(json.real("moe_gate_norm_std", 1));
  }
  renormalise(0, m);
  read_positions(json, {.context = 8192, .eos = 2, .bos = 1}, m);
}

void openmoe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 256384, .hidden = 3072, .layers = 32, .heads = 24}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 12288));
  m.set_dense_intermediate_size(m.moe_intermediate_size());
  m.set_dense_residual(v1::DenseResidual::sequential);
  m.set_expert_unit(v1::ExpertUnit::trilinear);
  m.set_routed_experts(json.integer("num_experts", 32));
  m.set_top_k(json.integer("router_topk", 2));
  set_layer_step(json.integer("moe_layer_interval", 4), m);
  m.set_capacity_rule(v1::CapacityRule::colossal);
  m.set_capacity_factor(json.real("router_capacity_factor_train", 1.25));
  m.set_eval_capacity_factor(json.real("router_capacity_factor_eval", 2));
  m.set_attention_scale(1);
  read_positions(json, {.context = 2048, .eos = 1}, m);
}
}  // namespace switchyard::runtime::config
