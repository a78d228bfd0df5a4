// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the config.json readers of the families share. One function a family: it knows the keys and
/// defaults of the family's official config class and writes the composition of its router.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model/config_reader.hpp"

namespace switchyard::model::v1 {
class Model;
}

namespace switchyard::runtime::config {
using Message = switchyard::model::v1::Model;

/// Defaults of a config class for what every transformer has.
struct Defaults {
  std::int64_t vocab = 32000;
  std::int64_t hidden = 4096;
  std::int64_t layers = 32;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 0;  ///< 0: heads
  std::int64_t head_dim = 0;  ///< 0: hidden / heads
  bool tied = false;
};

/// Defaults of a config class for what positions, norms and the ends of a text are.
struct PositionDefaults {
  double eps = 1e-6;
  double theta = 10000;
  double rotary = 1;  ///< share of a head that is turned
  std::int64_t context = 0;
  std::optional<std::int64_t> eos = std::nullopt;
  std::optional<std::int64_t> bos =
      std::nullopt;  ///< only where the family's tokenizer puts it before a text
};

/// vocab_size, hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
/// tie_word_embeddings, hidden_act.
void read_common(const ConfigReader& json, const Defaults& defaults, Message& m);
/// rms_norm_eps, rope_theta, partial_rotary_factor, rope_scaling (or rope_parameters),
/// max_position_embeddings, eos_token_id, and bos_token_id where `defaults` has one. Needs the
/// heads' widths. Sources: transformers' modeling_rope_utils.py, v4.57.6 and v5.15.0.
void read_positions(const ConfigReader& json, const PositionDefaults& defaults, Message& m);
/// layer_types, one name a layer: those that are "full_attention". False when missing.
bool read_full_layers(const ConfigReader& json, Message& m);
/// `key` true: neighbours are turned together; false: element i with i + half.
void read_pairing(const ConfigReader& json, const std::string& key, bool missing, Message& m);
/// eos_token_id, a number or a list, and bos_token_id as above.
void read_ends(const ConfigReader& json, const PositionDefaults& defaults, Message& m);
/// The latent attention of DeepSeek: ranks and head widths. The defaults are DeepSeek-V3's.
void read_latent_attention(const ConfigReader& json, Message& m);
/// attention_bias: q, k, v and o.
void read_attention_bias(const ConfigReader& json, bool missing, Message& m);
/// A name of transformers' activation table. @throws naming `key` for one that no unit here has
void read_activation(const ConfigReader& json, const std::string& key, Message& m);
/// n_shared_experts networks of the experts' width; null and 0: none.
void read_shared(const ConfigReader& json, const std::string& key, std::int64_t missing,
                 Message& m);
/// Every `step`-th layer has experts, the last of each step.
void set_layer_step(std::int64_t step, Message& m);
/// Whether the rule as it stands leaves layers without experts.
[[nodiscard]] bool has_dense_layers(const Message& m);
/// Chosen scores are divided by their sum + eps.
void renormalise(double eps, Message& m);
/// Exactly these layers have experts.
void set_moe_layers(const std::vector<std::int64_t>& layers, Message& m);

// Softmax, top-k, weights raw or divided by their sum.
void mixtral(const ConfigReader& json, Message& m);
void qwen2_moe(const ConfigReader& json, Message& m);
void qwen3_moe(const ConfigReader& json, Message& m);
void qwen3_next(const ConfigReader& json, Message& m);
void olmoe(const ConfigReader& json, Message& m);
void jamba(const ConfigReader& json, Message& m);
void arctic(const ConfigReader& json, Message& m);
void dbrx(const ConfigReader& json, Message& m);
void grok1(const ConfigReader& json, Message& m);
void hunyuan(const ConfigReader& json, Message& m);
void hunyuan_v1_moe(const ConfigReader& json, Message& m);
void ernie4_5_moe(const ConfigReader& json, Message& m);
void skywork_moe(const ConfigReader& json, Message& m);
void openmoe(const ConfigReader& json, Message& m);

// Softmax over the chosen logits.
void jetmoe(const ConfigReader& json, Message& m);
void granitemoe(const ConfigReader& json, Message& m);
void gpt_oss(const ConfigReader& json, Message& m);
void llama_moe(const ConfigReader& json, Message& m);
void yuan(const ConfigReader& json, Message& m);

// DeepSeek and its line.
void deepseek_moe(const ConfigReader& json, Message& m);
void deepseek_v2(const ConfigReader& json, Message& m);
void deepseek_v3(const ConfigReader& json, Message& m);
void glm4_moe(const ConfigReader& json, Message& m);
void glm_moe_dsa(const ConfigReader& json, Message& m);
void mistral4(const ConfigReader& json, Message& m);
void mistral_large_3(const ConfigReader& json, Message& m);
void longcat_flash(const ConfigReader& json, Message& m);

// Rules of their own.
void phimoe(const ConfigReader& json, Message& m);
void llama4(const ConfigReader& json, Message& m);
void minimax_m2(const ConfigReader& json, Message& m);
}  // namespace switchyard::runtime::config
