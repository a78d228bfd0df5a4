// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <map>
#include <set>
#include <sstream>

#include "runtime/model/model.hpp"

// A preset and what the reader makes of the config.json that its system was released with are one
// model, field by field, so that neither can drift. Keys and values are those of the releases, as
// far as the sources that each preset names give them.
namespace {
using switchyard::runtime::Model;
using Fields = std::map<std::string, std::string>;

/// Of the canonical text: each field's values, in order.
Fields fields_of(const Model& model) {
  Fields fields;
  std::istringstream lines(model.text());
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(':');
    fields[line.substr(0, colon)] += line.substr(colon + 1);
  }
  return fields;
}

/// What a config.json cannot know: names, published figures, training, notes.
const std::set<std::string>& not_in_any_config() {
  static const std::set<std::string> names{"name",
                                           "released",
                                           "affiliation",
                                           "source",
                                           "corrections",
                                           "notes",
                                           "total_params_published",
                                           "active_params_published",
                                           "aux_loss_coef",
                                           "z_loss_coef",
                                           "device_loss_coef",
                                           "communication_loss_coef",
                                           "capacity_rule",
                                           "capacity_factor",
                                           "eval_capacity_factor",
                                           "router_dtype",
                                           "shared_experts"};
  return names;
}

/// Unset means this.
const Fields& defaults() {
  static const Fields values{{"n_group", " 1"},          {"topk_group", " 1"},
                             {"moe_every", " 1"},        {"routed_scaling_factor", " 1"},
                             {"norm_p", " 1"},           {"logit_transform_value", " 1"},
                             {"swiglu_alpha", " 1.702"}, {"swiglu_limit", " 7"},
                             {"yarn_beta_fast", " 32"},  {"yarn_beta_slow", " 1"}};
  return values;
}

/// @param not_in_config  fields that this preset or this config.json leaves out
void expect_same(const char* preset, const std::string& json, const std::string& family = "",
                 const std::set<std::string>& not_in_config = {}) {
  Fields expected = fields_of(Model::preset(preset));
  Fields got = fields_of(Model::from_config_json(json, family));
  for (Fields* fields : {&expected, &got}) {
    fields->insert(defaults().begin(), defaults().end());
    if (fields->at("n_group") == " 1") fields->erase("group_score");
    std::erase_if(*fields, [&](const auto& field) {
      return not_in_any_config().contains(field.first) || not_in_config.contains(field.first);
    });
  }
  EXPECT_EQ(got, expected) << preset;
}

TEST(ReleasedConfig, MixtralIsItsPreset) {
  const std::string both = R"("model_type": "mixtral", "architectures": ["MixtralForCausalLM"],
      "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "num_experts_per_tok": 2,
      "num_key_value_heads": 8, "num_local_experts": 8, "rms_norm_eps": 1e-05,
      "rope_theta": 1000000.0, "sliding_window": null, "tie_word_embeddings": false)";
  expect_same("mixtral-8x7b", "{" + both + R"(, "hidden_size": 4096, "intermediate_size": 14336,
      "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32,
      "vocab_size": 32000})");
  expect_same("mixtral-8x22b", "{" + both + R"(, "hidden_size": 6144, "intermediate_size": 16384,
      "max_position_embeddings": 65536, "num_attention_heads": 48, "num_hidden_layers": 56,
      "vocab_size": 32768})");
}

TEST(ReleasedConfig, QwenIsItsPreset) {
  expect_same("qwen1.5-moe", R"({"model_type": "qwen2_moe", "bos_token_id": 151643,
      "decoder_sparse_step": 1, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 2048,
      "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21,
      "moe_intermediate_size": 1408, "norm_topk_prob": false, "num_attention_heads": 16,
      "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24,
      "num_key_value_heads": 16, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
      "shared_expert_intermediate_size": 5632, "sliding_window": 32768,
      "use_sliding_window": false, "vocab_size": 151936})");
  expect_same("qwen2-57b", R"({"model_type": "qwen2_moe", "bos_token_id": 151643,
      "decoder_sparse_step": 1, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 3584,
      "intermediate_size": 18944, "max_position_embeddings": 131072, "max_window_layers": 28,
      "moe_intermediate_size": 2560, "norm_topk_prob": false, "num_attention_heads": 28,
      "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 28,
      "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
      "shared_expert_intermediate_size": 20480, "sliding_window": 131072,
      "use_sliding_window": false, "vocab_size": 151936})");
  const std::string both = R"("model_type": "qwen3_moe", "attention_bias": false, "head_dim": 128,
      "bos_token_id": 151643, "eos_token_id": [151645, 151643], "decoder_sparse_step": 1,
      "hidden_act": "silu", "max_position_embeddings": 40960, "mlp_only_layers": [],
      "norm_topk_prob": true, "num_experts": 128, "num_experts_per_tok": 8,
      "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_scaling": null,
      "rope_theta": 1000000.0, "sliding_window": null, "use_sliding_window": false,
      "vocab_size": 151936)";
  expect_same("qwen3-235b", "{" + both + R"(, "hidden_size": 4096, "moe_intermediate_size": 1536,
      "num_attention_heads": 64, "num_hidden_layers": 94})");
  expect_same("qwen3-30b", "{" + both + R"(, "hidden_size": 2048, "moe_intermediate_size": 768,
      "num_attention_heads": 32, "num_hidden_layers": 48})");
}

TEST(ReleasedConfig, OlmoeArcticAndGptOssAreTheirPresets) {
  expect_same("olmoe", R"({"model_type": "olmoe", "attention_bias": false, "clip_qkv": null,
      "eos_token_id": 50279, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 1024,
      "max_position_embeddings": 4096, "norm_topk_prob": false, "num_attention_heads": 16,
      "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 16,
      "num_key_value_heads": 16, "rms_norm_eps": 1e-05, "rope_scaling": null,
      "rope_theta": 10000.0, "tie_word_embeddings": false, "vocab_size": 50304})");
  expect_same("arctic", R"({"model_type": "arctic", "bos_token_id": 31998, "eos_token_id": 31999,
      "hidden_act": "silu", "hidden_size": 7168, "intermediate_size": 4864,
      "max_position_embeddings": 4096, "moe_layer_frequency": 1, "num_attention_heads": 56,
      "num_experts_per_tok": 2, "num_hidden_layers": 35, "num_key_value_heads": 8,
      "num_local_experts": 128, "parallel_attn_mlp_res": true, "rms_norm_eps": 1e-05,
      "rope_theta": 10000, "sliding_window": null, "vocab_size": 32000})");
  const auto gpt_oss = [](int layers, int experts) {
    std::string types;
    for (int i = 0; i < layers; ++i) {
      types += i % 2 == 0 ? R"("sliding_attention", )" : R"("full_attention", )";
    }
    types.resize(types.size() - 2);
    return R"({"model_type": "gpt_oss", "attention_bias": true, "eos_token_id": 200002,
      "head_dim": 64, "hidden_act": "silu", "hidden_size": 2880, "initial_context_length": 4096,
      "intermediate_size": 2880, "max_position_embeddings": 131072, "num_attention_heads": 64,
      "num_experts_per_tok": 4, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
      "rope_scaling": {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
      "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": false},
      "rope_theta": 150000, "sliding_window": 128, "swiglu_limit": 7.0, "vocab_size": 201088,
      "num_hidden_layers": )" +
           std::to_string(layers) + R"(, "num_local_experts": )" + std::to_string(experts) +
           R"(, "layer_types": [)" + types + "]}";
  };
  expect_same("gpt-oss-120b", gpt_oss(36, 128));
  expect_same("gpt-oss-20b", gpt_oss(24, 32));
}

TEST(ReleasedConfig, DeepSeekIsItsPreset) {
  expect_same("deepseekmoe", R"({"model_type": "deepseek", "attention_bias": false,
      "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1,
      "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 10944,
      "max_position_embeddings": 4096, "moe_intermediate_size": 1408, "moe_layer_freq": 1,
      "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false,
      "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 28,
      "num_key_value_heads": 16, "rms_norm_eps": 1e-06, "rope_scaling": null,
      "rope_theta": 10000, "scoring_func": "softmax", "vocab_size": 102400})");
  const std::string both = R"("attention_bias": false, "hidden_act": "silu", "kv_lora_rank": 512,
      "max_position_embeddings": 163840, "moe_layer_freq": 1, "n_group": 8,
      "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
      "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
      "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0,
      "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"},
      "rope_theta": 10000, "v_head_dim": 128)";
  expect_same("deepseek-v2", "{" + both + R"(, "model_type": "deepseek_v2", "bos_token_id": 100000,
      "eos_token_id": 100001, "first_k_dense_replace": 1, "hidden_size": 5120,
      "intermediate_size": 12288, "moe_intermediate_size": 1536, "n_routed_experts": 160,
      "n_shared_experts": 2, "norm_topk_prob": false, "num_experts_per_tok": 6,
      "num_hidden_layers": 60, "routed_scaling_factor": 16.0, "scoring_func": "softmax",
      "topk_group": 3, "topk_method": "group_limited_greedy", "vocab_size": 102400})");
  expect_same("deepseek-v3", "{" + both + R"(, "model_type": "deepseek_v3", "bos_token_id": 0,
      "eos_token_id": 1, "first_k_dense_replace": 3, "hidden_size": 7168,
      "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
      "n_shared_experts": 1, "norm_topk_prob": true, "num_experts_per_tok": 8,
      "num_hidden_layers": 61, "num_nextn_predict_layers": 1, "routed_scaling_factor": 2.5,
      "scoring_func": "sigmoid", "topk_group": 4, "topk_method": "noaux_tc",
      "vocab_size": 129280})");
}

TEST(ReleasedConfig, GlmIsItsPreset) {
  const std::string both = R"("model_type": "glm4_moe", "attention_bias": true, "head_dim": 128,
      "eos_token_id": [151329, 151336, 151338], "hidden_act": "silu",
      "max_position_embeddings": 131072, "n_group": 1, "n_shared_experts": 1,
      "norm_topk_prob": true, "num_attention_heads": 96, "num_experts_per_tok": 8,
      "num_key_value_heads": 8, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-05,
      "rope_scaling": null, "rope_theta": 1000000, "topk_group": 1, "vocab_size": 151552)";
  expect_same("glm-4.5", "{" + both + R"(, "first_k_dense_replace": 3, "hidden_size": 5120,
      "intermediate_size": 12288, "moe_intermediate_size": 1536, "n_routed_experts": 160,
      "num_hidden_layers": 92, "routed_scaling_factor": 2.5, "use_qk_norm": true})");
  expect_same("glm-4.5-air", "{" + both + R"(, "first_k_dense_replace": 1, "hidden_size": 4096,
      "intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 128,
      "num_attention_heads": 96, "num_hidden_layers": 46, "routed_scaling_factor": 1.0,
      "use_qk_norm": false})");
  expect_same("glm-5", R"({"model_type": "glm_moe_dsa", "attention_bias": false,
      "eos_token_id": [154820, 154827, 154829], "first_k_dense_replace": 3, "head_dim": 64,
      "hidden_act": "silu", "hidden_size": 6144, "index_head_dim": 128, "index_n_heads": 32,
      "index_topk": 2048, "indexer_rope_interleave": true, "intermediate_size": 12288,
      "kv_lora_rank": 512, "max_position_embeddings": 202752, "moe_intermediate_size": 2048,
      "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 256, "n_shared_experts": 1,
      "norm_topk_prob": true, "num_attention_heads": 64, "num_experts_per_tok": 8,
      "num_hidden_layers": 78, "num_key_value_heads": 64, "q_lora_rank": 2048,
      "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-05,
      "rope_interleave": true, "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
      "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_group": 1,
      "topk_method": "noaux_tc", "v_head_dim": 256, "vocab_size": 154880})");
}

TEST(ReleasedConfig, PhiMoeIsItsPreset) {
  const std::string both = R"("model_type": "phimoe", "attention_bias": true, "bos_token_id": 1,
      "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 4096, "input_jitter_noise": 0.01,
      "intermediate_size": 6400, "lm_head_bias": true, "num_attention_heads": 32,
      "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "num_local_experts": 16, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
      "router_jitter_noise": 0.01, "vocab_size": 32064)";
  expect_same("grin-moe", "{" + both + R"(, "max_position_embeddings": 4096,
      "sliding_window": 2047, "rope_scaling": null})");
  const Fields phi = fields_of(Model::preset("phi-3.5"));
  const auto list = [&phi](const char* field) {
    std::string text;
    std::istringstream numbers(phi.at(field));
    int count = 0;
    for (std::string number; numbers >> number; ++count) text += (count > 0 ? "," : "") + number;
    EXPECT_EQ(count, 64) << field;
    return "[" + text + "]";
  };
  expect_same("phi-3.5", "{" + both + R"(, "max_position_embeddings": 131072,
      "original_max_position_embeddings": 4096, "sliding_window": 131072, "rope_scaling":
      {"long_mscale": 1.243163121016122, "original_max_position_embeddings": 4096,
      "short_mscale": 1.243163121016122, "type": "longrope", "long_factor": )" +
                             list("rope_long_factors") + R"(, "short_factor": )" +
                             list("rope_short_factors") + "}}");
}

TEST(ReleasedConfig, Llama4IsItsPreset) {
  const auto text = [](const std::string& more, const std::string& more_text) {
    return R"({"model_type": "llama4", "architectures": ["Llama4ForConditionalGeneration"],
      "vision_config": {"hidden_size": 1408})" +
           more + R"(, "text_config": {"model_type": "llama4_text", "attention_bias": false,
      "attention_chunk_size": 8192, "attn_scale": 0.1, "attn_temperature_tuning": 4,
      "bos_token_id": 200000, "eos_token_id": [200001, 200007, 200008], "floor_scale": 8192,
      "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120, "intermediate_size": 8192,
      "intermediate_size_mlp": 16384, "no_rope_layers": [], "num_attention_heads": 40,
      "num_experts_per_tok": 1, "num_hidden_layers": 48, "num_key_value_heads": 8,
      "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": false,
      "vocab_size": 202048, )" +
           more_text + "}}";
  };
  expect_same("llama-4-scout", text("", R"("interleave_moe_layer_step": 1,
      "max_position_embeddings": 10485760, "num_local_experts": 16, "use_qk_norm": true,
      "rope_scaling": {"factor": 16.0, "high_freq_factor": 1.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"})"));
  expect_same("llama-4-maverick", text("", R"("interleave_moe_layer_step": 2,
      "max_position_embeddings": 1048576, "num_local_experts": 128, "use_qk_norm": false,
      "rope_scaling": null)"));
}

TEST(ReleasedConfig, HybridsAndMixturesAreTheirPresets) {
  expect_same("jamba", R"({"model_type": "jamba", "attn_layer_offset": 4, "attn_layer_period": 8,
      "bos_token_id": 1, "eos_token_id": 2, "expert_layer_offset": 1, "expert_layer_period": 2,
      "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
      "mamba_conv_bias": true, "mamba_d_conv": 4, "mamba_d_state": 16, "mamba_dt_rank": 256,
      "mamba_expand": 2, "mamba_proj_bias": false, "num_attention_heads": 32, "num_experts": 16,
      "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8,
      "max_position_embeddings": 262144, "rms_norm_eps": 1e-06, "vocab_size": 65536})");
  // Its eps has no source.
  expect_same("jetmoe", R"({"model_type": "jetmoe", "activation_function": "silu",
      "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 2048, "intermediate_size": 5632,
      "kv_channels": 128, "max_position_embeddings": 4096, "num_experts_per_tok": 2,
      "num_hidden_layers": 24, "num_key_value_heads": 16, "num_local_experts": 8,
      "rope_theta": 10000.0, "tie_word_embeddings": true, "vocab_size": 32000})",
              "", {"rms_norm_eps"});
  expect_same("yuan", R"({"model_type": "yuan", "attention_projection_size": 4096,
      "bos_token_id": 77185, "causal_mask": true, "eos_token_id": 77185, "hidden_act": "silu",
      "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 16384,
      "moe_config": {"ffn_hidden_size": 8192, "gated_linear_unit": true, "moe_num_experts": 32,
      "moe_top_k": 2, "norm_topk_prob": true, "router_type": "attn_router"},
      "num_attention_heads": 16, "num_hidden_layers": 24, "rms_norm_eps": 1e-06,
      "tie_word_embeddings": true, "vocab_size": 135040})");
  // Without its alpha: no source gives the base that the release turns by.
  expect_same("hunyuan", R"({"model_type": "hunyuan", "attention_bias": false,
      "bos_token_id": 127958, "cla_share_factor": 2, "eos_token_id": 127957, "hidden_act": "silu",
      "hidden_size": 6400, "intermediate_size": 18304, "max_position_embeddings": 131072,
      "moe_topk": 1, "num_attention_heads": 80, "num_experts": 16, "num_hidden_layers": 64,
      "num_key_value_heads": 8, "num_shared_expert": 1, "rms_norm_eps": 1e-05,
      "tie_word_embeddings": true, "use_cla": true, "use_mixed_mlp_moe": true,
      "use_qk_norm": true, "vocab_size": 128512})",
              "", {"rope_theta"});
}

TEST(ReleasedConfig, FamiliesWithoutAClassInTransformersAreTheirPresets) {
  expect_same("dbrx", R"({"model_type": "dbrx", "attn_config": {"clip_qkv": 8, "kv_n_heads": 8,
      "rope_theta": 500000}, "d_model": 6144, "eos_token_id": 100257, "ffn_config":
      {"ffn_hidden_size": 10752, "moe_jitter_eps": 0.01, "moe_num_experts": 16, "moe_top_k": 4,
      "moe_normalize_expert_weights": 1.0}, "max_seq_len": 32768, "n_heads": 48, "n_layers": 40,
      "tie_word_embeddings": false, "vocab_size": 100352})");
  expect_same("grok-1", R"({"model_type": "grok-1", "attn_output_multiplier": 0.08838834764831845,
      "embedding_multiplier_scale": 78.38367176906169, "eos_token_id": 2, "hidden_size": 6144,
      "intermediate_size": 32768, "max_attn_value": 30.0, "max_position_embeddings": 8192,
      "num_attention_heads": 48, "num_experts": 8, "num_experts_per_tok": 2,
      "num_hidden_layers": 64, "num_key_value_heads": 8,
      "output_multiplier_scale": 0.5773502691896257, "rms_norm_eps": 1e-05,
      "vocab_size": 131072})");
  expect_same("llama-moe", R"({"model_type": "llama_moe", "bos_token_id": 1, "eos_token_id": 2,
      "gate_network": "mlp", "gate_type": "TopKBalancedNoisyGate", "hidden_act": "silu",
      "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096,
      "num_attention_heads": 32, "num_experts": 8, "num_hidden_layers": 32,
      "num_key_value_heads": 32, "num_selects": 2, "rms_norm_eps": 1e-05, "rope_scaling": null,
      "score_scale_factor": 4.0, "size_experts": null, "vocab_size": 32000})");
  // hpcaitech/ColossalAI:examples/language/openmoe/model/openmoe_34b_config.json
  expect_same("openmoe", R"({"model_type": "llama", "architectures": ["OpenMoeForCausalLM"],
      "attention_bias": false, "bos_token_id": 0, "eos_token_id": 1, "head_dim": 128,
      "hidden_act": "swiglu", "hidden_size": 3072, "intermediate_size": 12288,
      "max_position_embeddings": 2048, "mlp_gated": true, "moe_layer_interval": 4,
      "num_attention_heads": 24, "num_experts": 32, "num_hidden_layers": 32,
      "num_key_value_heads": 24, "rms_norm_eps": 1e-06, "rope_scaling": null,
      "rope_theta": 10000.0, "router_topk": 2, "tie_word_embeddings": false,
      "vocab_size": 256384})");
  expect_same("skywork", R"({"model_type": "skywork", "hidden_act": "silu", "hidden_size": 4608,
      "intermediate_size": 12288, "moe_gate_norm_std": 1.0, "moe_use_logits_norm": true,
      "num_attention_heads": 36, "num_experts": [16], "num_experts_per_tok": 2,
      "num_hidden_layers": 52, "num_key_value_heads": 36, "rope_theta": 10000.0,
      "vocab_size": 65532})",
              "", {"rms_norm_eps", "max_context", "eos_tokens", "bos_token"});
  // Keys as vLLM reads the vendor's params.json; what its preset leaves out is made up here.
  expect_same("mistral-large-3", R"({"dim": 7168, "hidden_dim": 16384, "kv_lora_rank": 512,
      "llama_4_scaling": {"beta": 0.1, "original_max_position_embeddings": 8192},
      "moe": {"expert_hidden_dim": 4096, "first_k_dense_replace": 3, "num_expert_groups": 1,
      "num_expert_groups_per_tok": 1, "num_experts": 128, "num_experts_per_tok": 4,
      "num_shared_experts": 1, "route_every_n": 1, "routed_scale": 1.0}, "n_heads": 128,
      "n_layers": 61, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
      "v_head_dim": 128, "vocab_size": 131072})",
              "mistral_large_3",
              {"rms_norm_eps", "rope_theta", "max_context", "eos_tokens", "bos_token",
               "temperature_floor", "temperature_scale"});
}

std::string refusal(const std::string& json) {
  try {
    (void)Model::from_config_json(json, "");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(ReleasedConfig, EveryWayToScalePositionsIsRead) {
  const auto json = [](const std::string& scaling) {
    return R"({"model_type": "mixtral", "max_position_embeddings": 256, "rope_scaling": )" +
           scaling + "}";
  };
  const auto read = [&](const std::string& scaling) {
    return fields_of(Model::from_config_json(json(scaling), ""));
  };
  const Fields linear = read(R"({"type": "linear", "factor": 2.0})");
  EXPECT_EQ(linear.at("rope_scaling"), " linear");
  EXPECT_EQ(linear.at("rope_factor"), " 2");
  const Fields yarn = read(R"({"rope_type": "yarn", "original_max_position_embeddings": 64,
      "attention_factor": 1.5, "beta_fast": 16})");
  EXPECT_EQ(yarn.at("rope_factor"), " 4") << "of the lengths, where no key says another";
  EXPECT_EQ(yarn.at("rope_original_context"), " 64");
  EXPECT_EQ(yarn.at("rope_attention_factor"), " 1.5");
  EXPECT_EQ(yarn.at("yarn_beta_fast"), " 16");
  EXPECT_FALSE(yarn.contains("yarn_beta_slow"));
  EXPECT_FALSE(read(R"({"rope_type": "default"})").contains("rope_scaling"));
  EXPECT_EQ(refusal(json(R"({"type": "ntk"})")),
            "config.json: rope_scaling.type is \"ntk\", want default, linear, llama3, yarn, "
            "longrope or dynamic");
  EXPECT_EQ(refusal(json(R"({"type": "dynamic", "factor": 2.0})")),
            "config.json: rope_scaling.alpha is missing, want a number above 0 with type dynamic");
  EXPECT_EQ(refusal(json(R"({"type": "yarn", "factor": 0})")),
            "config.json: rope_scaling.factor is 0, want a number above 0");
  EXPECT_THAT(refusal(json(R"({"type": "longrope", "factor": 4, "long_factor": [1, 2]})")),
              testing::HasSubstr("rope_short_factors is 0 numbers, want 64"));
}

TEST(ReleasedConfig, HunyuansAlphaMakesTheBaseLarger) {
  const Fields m = fields_of(Model::from_config_json(R"({"model_type": "hunyuan",
      "hidden_size": 6400, "num_attention_heads": 80, "num_key_value_heads": 8, "num_experts": 16,
      "use_mixed_mlp_moe": true, "rope_theta": 10000.0,
      "rope_scaling": {"alpha": 1000.0, "factor": 1.0, "type": "dynamic"}})",
                                                     ""));
  EXPECT_FALSE(m.contains("rope_scaling"));
  EXPECT_NEAR(std::stod(m.at("rope_theta")), 11937766.417144358, 1e-6);  // 1e4 * 1000^(80 / 78)
}

TEST(ReleasedConfig, WhatNobodyHereComputesIsRefusedByItsKey) {
  EXPECT_THAT(refusal(R"({"model_type": "glm_moe_dsa", "indexer_types": ["full", "shared"]})"),
              testing::HasSubstr("indexer_types is [\"full\",\"shared\"], want full in every"));
  EXPECT_THAT(refusal(R"({"model_type": "yuan", "use_shareqk": true})"),
              testing::HasSubstr("use_shareqk is true, want false"));
  EXPECT_THAT(refusal(R"({"model_type": "llama4_text", "no_rope_layers": [1, 0]})"),
              testing::HasSubstr("no_rope_layers is [1,0], want one number a layer"));
}
}  // namespace
