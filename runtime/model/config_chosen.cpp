// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/config_family.hpp"
#include "runtime/model/model.pb.h"

// Families that choose by logit and take the softmax over the chosen ones only, and those with
// rules of their own.
namespace switchyard::runtime::config {
namespace v1 = switchyard::model::v1;
namespace {
void softmax_of_chosen(Message& m) {
  m.set_normalize_topk(v1::NormalizeTopk::within_topk);
}

/// Llama 4: which layers have no positions, which see everything, and the temperature there.
void read_chunks(const ConfigReader& json, Message& m) {
  // One number a layer: 1 has positions. Empty or missing: all but every fourth.
  const std::vector<std::int64_t> has_rope = json.integers("no_rope_layers");
  const std::int64_t every = json.integer("no_rope_layer_interval", 4);
  if (every < 1) json.refuse("no_rope_layer_interval", "at least 1");
  if (!has_rope.empty() && static_cast<std::int64_t>(has_rope.size()) != m.num_layers()) {
    json.refuse("no_rope_layers", "one number a layer");
  }
  const bool named = read_full_layers(json, m);
  m.set_attention_chunk(
      json.is_null("attention_chunk_size") ? 0 : json.integer("attention_chunk_size", 8192));
  for (std::int64_t layer = 0; layer < m.num_layers(); ++layer) {
    const auto at = static_cast<std::size_t>(layer);
    const bool rope = has_rope.empty() ? (layer + 1) % every != 0 : has_rope[at] != 0;
    if (!rope) m.add_no_rope_layers(layer);
    if (!named && !rope) m.add_full_attention_layers(layer);
  }
  // A flag in recent files, a number in the first ones.
  const bool tuned = json.is_number("attn_temperature_tuning")
                         ? json.integer("attn_temperature_tuning") != 0
                         : json.flag("attn_temperature_tuning", true);
  if (!tuned) return;
  m.set_temperature_floor(json.integer("floor_scale", 8192));
  m.set_temperature_scale(json.real("attn_scale", 0.1));
}
}  // namespace

void jetmoe(const ConfigReader& json, Message& m) {
  read_common(json,
              {.vocab = 32000,
               .hidden = 2048,
               .layers = 12,
               .heads = 32,
               .kv_heads = 16,
               .head_dim = 128,
               .tied = true},
              m);
  read_activation(json, "activation_function", m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 5632));
  m.set_routed_experts(json.integer("num_local_experts", 8));
  m.set_top_k(json.integer("num_experts_per_tok", 2));
  m.set_num_heads(m.num_kv_heads() * m.top_k());
  m.set_head_dim(json.integer("kv_channels", 128));
  m.set_attention(v1::Attention::moa);
  m.set_expert_bias(v1::ExpertBias::shared_output_bias);
  read_positions(json, {.context = 4096, .eos = 2, .bos = 1}, m);
  softmax_of_chosen(m);
}

void granitemoe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 32000, .hidden = 4096, .layers = 32, .heads = 32}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 11008));
  m.set_routed_experts(json.integer("num_local_experts", 8));
  m.set_top_k(json.integer("num_experts_per_tok", 2));
  read_attention_bias(json, false, m);
  softmax_of_chosen(m);
}

void gpt_oss(const ConfigReader& json, Message& m) {
  read_common(
      json,
      {.vocab = 201088, .hidden = 2880, .layers = 36, .heads = 64, .kv_heads = 8, .head_dim = 64},
      m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 2880));
  m.set_routed_experts(json.integer("num_local_experts", 128));
  m.set_top_k(json.integer("num_experts_per_tok", 4));
  m.set_router_bias(true);
  m.set_expert_activation(v1::ExpertActivation::clamped_swiglu);
  m.set_swiglu_alpha(json.real("swiglu_alpha", 1.702));
  m.set_swiglu_limit(json.real("swiglu_limit", 7));
  m.set_expert_bias(v1::ExpertBias::yes);
  m.set_attention(v1::Attention::gqa_sinks);
  m.set_attention_window(json.is_null("sliding_window") ? 0 : json.integer("sliding_window", 128));
  read_attention_bias(json, true, m);
  softmax_of_chosen(m);
  read_positions(json, {.eps = 1e-5, .theta = 150000, .context = 131072}, m);
  if (!json.has("rope_scaling") && !json.has("rope_parameters")) {
    m.set_rope_scaling(v1::RopeScaling::yarn);
    m.set_rope_factor(32);
    m.set_rope_original_context(json.integer("initial_context_length", 4096));
    m.set_yarn_truncate(false);
  }
  if (read_full_layers(json, m)) return;
  for (std::int64_t layer = 1; layer < m.num_layers(); layer += 2) {
    m.add_full_attention_layers(layer);
  }
}

void llama_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 32000, .hidden = 4096, .layers = 32, .heads = 32}, m);
  m.set_routed_experts(json.integer("num_experts", 16));
  m.set_top_k(json.integer("num_selects", 4));
  const std::int64_t width = json.integer("intermediate_size", 11008);
  const std::int64_t each = json.per_layer("size_experts", 0);  // null: equal parts
  if (each == 0 && (m.routed_experts() < 1 || width % m.routed_experts() != 0)) {
    json.refuse("num_experts", "a divisor of intermediate_size " + std::to_string(width));
  }
  m.set_moe_intermediate_size(each > 0 ? each : width / m.routed_experts());
  const std::string network = json.text("gate_network", "mlp");
  if (network == "mlp") {
    m.set_logits(v1::Logits::mlp_tanh);
  } else if (network != "linear") {
    json.refuse("gate_network", "mlp or linear");
  }
  if (!json.flag("gate_use_softmax", true)) json.refuse("gate_use_softmax", "true");
  if (!json.flag("multiply_gate_scores", true)) json.refuse("multiply_gate_scores", "true");
  m.set_routed_scaling_factor(json.real("score_scale_factor", 1));
  read_positions(json, {.context = 2048, .eos = 2, .bos = 1}, m);
  softmax_of_chosen(m);
}

void yuan(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 135040, .hidden = 2048, .layers = 24, .heads = 16, .tied = true}, m);
  const ConfigReader moe = json.object("moe_config");
  m.set_moe_intermediate_size(
      moe.integer("ffn_hidden_size", json.integer("intermediate_size", 8192)));
  m.set_routed_experts(moe.integer("moe_num_experts", 32));
  m.set_top_k(moe.integer("moe_top_k", 2));
  if (json.has("attention_projection_size")) {
    m.set_head_dim(json.integer("attention_projection_size") / m.num_heads());
  }
  m.set_attention(v1::Attention::gqa_lfa);
  if (json.flag("use_shareqk", false)) json.refuse("use_shareqk", "false");
  // As many elements turn as a head of hidden_size / heads would have.
  if (m.head_dim() * m.num_heads() != m.hidden_size()) {
    m.set_rotary_dim(m.hidden_size() / m.num_heads());
  }
  read_positions(json, {.context = 8192, .eos = 77185}, m);
  m.set_logits(v1::Logits::attention);
  softmax_of_chosen(m);
}

void phimoe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 32064, .hidden = 4096, .layers = 32, .heads = 32, .kv_heads = 8}, m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 6400));
  m.set_routed_experts(json.integer("num_local_experts", 16));
  m.set_top_k(json.integer("num_experts_per_tok", 2));
  m.set_scoring(v1::Scoring::none);
  m.set_choice(v1::Choice::sparsemixer);
  m.set_sparsemixer_jitter(json.real("router_jitter_noise", 0.01));
  m.set_norm(v1::Norm::layernorm_bias);
  m.set_lm_head_bias(json.flag("lm_head_bias", false));
  read_attention_bias(json, false, m);
  m.set_attention_window(json.is_null("sliding_window") ? 0 : json.integer("sliding_window", 0));
  read_positions(json, {.eps = 1e-5, .theta = 1e6, .context = 131072, .eos = 2}, m);
}

void llama4(const ConfigReader& whole, Message& m) {
  const ConfigReader json = whole.is_object("text_config") ? whole.object("text_config") : whole;
  read_common(
      json,
      {.vocab = 202048, .hidden = 5120, .layers = 48, .heads = 40, .kv_heads = 8, .head_dim = 128},
      m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 8192));
  m.set_routed_experts(json.integer("num_local_experts", 16));
  m.set_top_k(json.integer("num_experts_per_tok", 1));
  m.set_shared_experts(1);
  m.set_shared_intermediate_size(m.moe_intermediate_size());
  m.set_scoring(v1::Scoring::sigmoid);
  m.set_gate_applied_to(v1::GateAppliedTo::input);
  if (json.is_list("moe_layers")) {
    set_moe_layers(json.integers("moe_layers"), m);
  } else {
    set_layer_step(json.integer("interleave_moe_layer_step", 1), m);
  }
  if (has_dense_layers(m)) {
    m.set_dense_intermediate_size(json.integer("intermediate_size_mlp", 16384));
  }
  m.set_attention(v1::Attention::gqa_chunked);
  if (json.flag("use_qk_norm", true)) m.set_qk_norm(v1::QkNorm::l2_no_weight);
  m.set_qk_norm_after_rope(m.qk_norm() != v1::QkNorm::no);
  read_attention_bias(json, false, m);
  m.set_rope(v1::Rope::interleaved);
  read_chunks(json, m);
  read_positions(json, {.eps = 1e-5, .theta = 5e5, .context = 131072, .eos = 2, .bos = 1}, m);
}

void minimax_m2(const ConfigReader& json, Message& m) {
  read_common(
      json,
      {.vocab = 200064, .hidden = 3072, .layers = 62, .heads = 48, .kv_heads = 8, .head_dim = 128},
      m);
  m.set_moe_intermediate_size(json.integer("intermediate_size", 1536));
  m.set_routed_experts(json.integer("num_local_experts", 256));
  m.set_top_k(json.integer("num_experts_per_tok", 8));
  m.set_scoring(v1::Scoring::sigmoid);
  m.set_selection_bias(true);
  renormalise(0, m);
  m.set_qk_norm(v1::QkNorm::full_width);
}
}  // namespace switchyard::runtime::config
