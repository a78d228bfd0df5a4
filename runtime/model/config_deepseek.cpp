// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/model/config_family.hpp"
#include "runtime/model/model.pb.h"

// DeepSeek and the families that took its block over: shared experts, dense layers first, groups.
namespace switchyard::runtime::config {
namespace v1 = switchyard::model::v1;
namespace {
constexpr double kEpsilon = 1e-20;  // of the sum, in transformers

/// What the config classes of the line differ in.
struct Line {
  std::int64_t experts = 0;  ///< 0: the key must be there
  std::int64_t top_k = 0;    ///< 0: the key must be there
  std::int64_t shared = 1;
  std::int64_t expert_width = 0;
  std::int64_t dense_width = 0;
  std::int64_t first_k_dense = 0;
};

void read_experts(const ConfigReader& json, const Line& line, Message& m) {
  m.set_moe_intermediate_size(json.integer("moe_intermediate_size", line.expert_width));
  m.set_routed_experts(line.experts > 0 ? json.integer("n_routed_experts", line.experts)
                                        : json.integer("n_routed_experts"));
  m.set_top_k(line.top_k > 0 ? json.integer("num_experts_per_tok", line.top_k)
                             : json.integer("num_experts_per_tok"));
  read_shared(json, "n_shared_experts", line.shared, m);
  m.set_first_k_dense(json.integer("first_k_dense_replace", line.first_k_dense));
  m.set_moe_every(std::max<std::int64_t>(json.integer("moe_layer_freq", 1), 1));
  if (has_dense_layers(m)) {
    m.set_dense_intermediate_size(json.integer("intermediate_size", line.dense_width));
  }
}

void read_groups(const ConfigReader& json, std::int64_t groups, std::int64_t kept, Message& m) {
  m.set_n_group(json.is_null("n_group") ? 1 : json.integer("n_group", groups));
  m.set_topk_group(json.is_null("topk_group") ? m.n_group() : json.integer("topk_group", kept));
}

/// Another scoring than the family's would be computed wrongly in silence.
void require_scoring(const ConfigReader& json, const std::string& scoring) {
  if (json.text("scoring_func", scoring) != scoring) json.refuse("scoring_func", scoring);
}

/// Sigmoid, biased choice, two best of a group, and weights that are divided by their sum.
void read_v3_router(const ConfigReader& json, std::int64_t groups, std::int64_t kept, double scale,
                    Message& m) {
  require_scoring(json, "sigmoid");
  m.set_scoring(v1::Scoring::sigmoid);
  m.set_selection_bias(true);
  read_groups(json, groups, kept, m);
  m.set_group_score(v1::GroupScore::sum_top2);
  if (json.flag("norm_topk_prob", true)) renormalise(kEpsilon, m);
  m.set_routed_scaling_factor(json.real("routed_scaling_factor", scale));
}

/// Positions as Mistral's params.json spells them, and as vLLM's adapter reads them.
void read_vendor_positions(const ConfigReader& json, Message& m) {
  m.set_rope(v1::Rope::interleaved);
  m.set_rms_norm_eps(json.real("norm_eps", 1e-6));
  m.set_rope_theta(json.real("rope_theta", 10000));
  m.set_max_context(json.integer("max_position_embeddings", 128000));
  if (json.is_object("yarn")) {
    const ConfigReader yarn = json.object("yarn");
    m.set_rope_scaling(v1::RopeScaling::yarn);
    m.set_rope_factor(yarn.real("factor", 1));
    m.set_rope_original_context(yarn.integer("original_max_position_embeddings"));
    if (yarn.has("beta")) m.set_yarn_beta_fast(yarn.real("beta", 32));
    if (yarn.has("alpha")) m.set_yarn_beta_slow(yarn.real("alpha", 1));
    // Without apply_scale neither cos and sin nor the scores grow with the context.
    m.set_rope_attention_factor(1);
    if (yarn.flag("apply_scale", true)) m.set_yarn_mscale_all_dim(1);
  }
  if (json.is_object("llama_4_scaling")) {
    const ConfigReader scaling = json.object("llama_4_scaling");
    m.set_temperature_floor(scaling.integer("original_max_position_embeddings"));
    m.set_temperature_scale(scaling.real("beta", 0));
    m.set_temperature_everywhere(true);
  }
  read_ends(json, {.eos = 2, .bos = 1}, m);
}
}  // namespace

// The 16B model, by its vendor's config class.
void deepseek_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 102400, .hidden = 4096, .layers = 30, .heads = 32}, m);
  read_experts(json, {.shared = 0, .expert_width = 1407, .dense_width = 11008}, m);
  require_scoring(json, "softmax");
  if (m.top_k() > 1 && json.flag("norm_topk_prob", false)) renormalise(kEpsilon, m);
  read_attention_bias(json, false, m);
  read_positions(json, {.context = 2048, .eos = 100001, .bos = 100000}, m);
}

// transformers multiplies by the factor and never renormalises, whatever norm_topk_prob says.
void deepseek_v2(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 32000, .hidden = 4096, .layers = 32, .heads = 32}, m);
  read_experts(json, {.experts = 64, .shared = 2, .expert_width = 1407, .dense_width = 11008}, m);
  require_scoring(json, "softmax");
  const std::string method = json.text("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    m.set_n_group(json.integer("n_group"));
    m.set_topk_group(json.integer("topk_group"));
    m.set_group_score(v1::GroupScore::max);
  } else if (method != "greedy") {
    json.refuse("topk_method", "greedy or group_limited_greedy");
  }
  m.set_routed_scaling_factor(json.real("routed_scaling_factor", 1));
  if (json.flag("norm_topk_prob", false)) {
    m.set_notes("norm_topk_prob true has no effect, as in the reference of this family.");
  }
  read_latent_attention(json, m);
  read_attention_bias(json, false, m);
  m.set_rope(v1::Rope::interleaved);
  read_positions(json, {.context = 2048, .eos = 100001, .bos = 100000}, m);
}

void deepseek_v3(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 129280, .hidden = 7168, .layers = 61, .heads = 128}, m);
  read_experts(
      json,
      {.experts = 256, .top_k = 8, .expert_width = 2048, .dense_width = 18432, .first_k_dense = 3},
      m);
  read_v3_router(json, 8, 4, 2.5, m);
  read_latent_attention(json, m);
  read_attention_bias(json, false, m);
  read_pairing(json, "rope_interleave", true, m);
  read_positions(json, {.context = 4096, .eos = 1, .bos = 0}, m);
}

void glm4_moe(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 151552, .hidden = 4096, .layers = 46, .heads = 96, .kv_heads = 8}, m);
  read_experts(
      json,
      {.experts = 128, .top_k = 8, .expert_width = 1408, .dense_width = 10944, .first_k_dense = 1},
      m);
  read_v3_router(json, 1, 1, 1.0, m);
  // Its attention_bias is q, k and v only.
  if (json.flag("attention_bias", false)) m.set_attn_bias(v1::AttnBias::qkv);
  if (json.flag("use_qk_norm", false)) m.set_qk_norm(v1::QkNorm::per_head);
  read_positions(json, {.eps = 1e-5, .rotary = 0.5, .context = 131072}, m);
}

void glm_moe_dsa(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 154880, .hidden = 6144, .layers = 78, .heads = 64}, m);
  read_experts(
      json,
      {.experts = 256, .top_k = 8, .expert_width = 2048, .dense_width = 12288, .first_k_dense = 3},
      m);
  if (json.is_list("mlp_layer_types")) {
    m.set_first_k_dense(0);
    const std::vector<std::string> types = json.texts("mlp_layer_types");
    std::vector<std::int64_t> sparse;
    for (std::size_t layer = 0; layer < types.size(); ++layer) {
      if (types[layer] == "sparse") sparse.push_back(static_cast<std::int64_t>(layer));
    }
    set_moe_layers(sparse, m);
    if (has_dense_layers(m)) {
      m.set_dense_intermediate_size(json.integer("intermediate_size", 12288));
    }
  }
  read_v3_router(json, 1, 1, 2.5, m);
  read_latent_attention(json, m);
  m.set_q_lora_rank(json.integer("q_lora_rank", 2048));
  m.set_qk_nope_head_dim(json.integer("qk_nope_head_dim", 192));
  m.set_v_head_dim(json.integer("v_head_dim", 256));
  m.set_head_dim(m.qk_nope_head_dim() + m.qk_rope_head_dim());
  m.set_attention(v1::Attention::mla_dsa);
  m.set_index_heads(json.integer("index_n_heads", 32));
  m.set_index_head_dim(json.integer("index_head_dim", 128));
  m.set_index_topk(json.integer("index_topk", 2048));
  // Of GLM-5.2: layers that take over the choice of the one before.
  for (const std::string& type : json.texts("indexer_types")) {
    if (type != "full") json.refuse("indexer_types", "full in every layer");
  }
  if (json.integer("index_topk_freq", 1) > 1) json.refuse("index_topk_freq", "1");
  read_attention_bias(json, false, m);
  read_pairing(json, "rope_interleave", true, m);
  m.set_index_rope(json.flag("indexer_rope_interleave", true) ? v1::Rope::interleaved
                                                              : v1::Rope::half);
  read_positions(json, {.eps = 1e-5, .context = 202752, .eos = 1}, m);
}

void mistral4(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 131072, .hidden = 4096, .layers = 36, .heads = 32}, m);
  read_experts(json, {.experts = 128, .top_k = 4, .expert_width = 2048, .dense_width = 12288}, m);
  read_groups(json, 1, 1, m);
  m.set_group_score(v1::GroupScore::sum_top2);
  if (json.flag("norm_topk_prob", true)) renormalise(kEpsilon, m);
  m.set_routed_scaling_factor(json.real("routed_scaling_factor", 1));
  read_latent_attention(json, m);
  if (!json.is_null("q_lora_rank")) m.set_q_lora_rank(json.integer("q_lora_rank", 1024));
  m.set_kv_lora_rank(json.integer("kv_lora_rank", 256));
  m.set_qk_nope_head_dim(json.integer("qk_nope_head_dim", 64));
  m.set_head_dim(m.qk_nope_head_dim() + m.qk_rope_head_dim());
  read_attention_bias(json, false, m);
}

// The vendor's own params.json; its keys as vLLM reads them.
void mistral_large_3(const ConfigReader& json, Message& m) {
  const ConfigReader moe = json.object("moe");
  m.set_vocab_size(json.integer("vocab_size", 131072));
  m.set_hidden_size(json.integer("dim"));
  m.set_num_layers(json.integer("n_layers"));
  m.set_num_heads(json.integer("n_heads"));
  m.set_num_kv_heads(json.integer("n_kv_heads", m.num_heads()));
  m.set_tie_embeddings(json.flag("tied_embeddings", false));
  m.set_moe_intermediate_size(moe.integer("expert_hidden_dim"));
  m.set_routed_experts(moe.integer("num_experts"));
  m.set_top_k(moe.integer("num_experts_per_tok"));
  read_shared(moe, "num_shared_experts", 0, m);
  m.set_first_k_dense(moe.integer("first_k_dense_replace", 0));
  m.set_moe_every(std::max<std::int64_t>(moe.integer("route_every_n", 1), 1));
  if (has_dense_layers(m)) m.set_dense_intermediate_size(json.integer("hidden_dim"));
  m.set_n_group(std::max<std::int64_t>(moe.integer("num_expert_groups", 1), 1));
  m.set_topk_group(std::max<std::int64_t>(moe.integer("num_expert_groups_per_tok", 1), 1));
  if (m.n_group() > 1) m.set_group_score(v1::GroupScore::sum_top2);
  renormalise(0, m);
  m.set_routed_scaling_factor(moe.real("routed_scale", 1));
  read_latent_attention(json, m);
  read_vendor_positions(json, m);
}

// Two attentions and two dense MLPs a layer beside the experts; some experts have no weights.
void longcat_flash(const ConfigReader& json, Message& m) {
  read_common(json, {.vocab = 131072, .hidden = 6144, .layers = 28, .heads = 64}, m);
  m.set_num_layers(json.integer("num_layers", 28));
  m.set_sublayers(2);
  m.set_dense_intermediate_size(json.integer("ffn_hidden_size", 12288));
  m.set_moe_intermediate_size(json.integer("expert_ffn_hidden_size", 2048));
  m.set_routed_experts(json.integer("n_routed_experts", 512));
  m.set_zero_experts(json.is_null("zero_expert_num") ? 0 : json.integer("zero_expert_num", 256));
  m.set_top_k(json.integer("moe_topk", json.integer("num_experts_per_tok", 12)));
  m.set_selection_bias(true);
  m.set_routed_scaling_factor(json.real("routed_scaling_factor", 6));
  if (json.flag("norm_topk_prob", false)) {
    m.set_notes("norm_topk_prob true has no effect, as in the reference of this family.");
  }
  read_latent_attention(json, m);
  read_attention_bias(json, false, m);
}
}  // namespace switchyard::runtime::config
