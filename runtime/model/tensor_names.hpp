// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How the released checkpoint of each family names its tensors. Names only; shapes follow from the
/// model's fields.
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// How the experts of a block are stored: E experts of width f on rows of d, m = 2 (gated) matrices
/// before the activation.
enum class ExpertLayout {
  kSeparate,      ///< a tensor a matrix: experts.X.gate [f, d], .up [f, d], .down [d, f]
  kFusedEach,     ///< experts.X.w1 [m f, d], .w2 [d, f] (Yuan)
  kIndexedLast,   ///< calculator.experts.weight_gate.X and alike (LLaMA-MoE)
  kFusedRows,     ///< up [E, m f, d], down [E, d, f]
  kFusedColumns,  ///< up [E, d, m f], down [E, f, d]
  kFlatRows,      ///< gate, up and down each [E f, d] (DBRX)
  kStacked,       ///< gate and up each [E, d, f], down [E, f, d] (Grok-1)
  kSplitColumns,  ///< gate [E, d, (m - 1) f], up [E, d, f], down [E, f, d] (OpenMoE)
};

/// Parts of names, each relative to the one before: layer, then block. Suffixes are added to all.
struct TensorNames {
  std::string embedding = "model.embed_tokens.weight";
  std::string final_norm = "model.norm";
  std::string head = "lm_head";
  std::string layer = "model.layers.";  ///< then the number and separator
  std::string separator = ".";
  std::string weight = ".weight";       ///< suffix of matrices
  std::string norm_weight = ".weight";  ///< suffix of norms
  bool input_first = false;             ///< matrices lie as [in, out]

  std::vector<std::string> norms = {"input_layernorm", "post_attention_layernorm"};
  std::string dense_norm;  ///< before the always-on dense MLP; "": none
  std::string attention = "self_attn.";
  std::string q = "q_proj";
  std::string k = "k_proj";
  std::string v = "v_proj";
  std::string o = "o_proj";
  std::string qkv;  ///< q, k and v as one matrix; "": three
  std::string q_norm = "q_norm";
  std::string k_norm = "k_norm";
  std::string q_a = "q_a_proj";  ///< latent attention from here
  std::string q_a_norm = "q_a_layernorm";
  std::string q_b = "q_b_proj";
  std::string kv_a = "kv_a_proj_with_mqa";
  std::string kv_a_norm = "kv_a_layernorm";
  std::string kv_b = "kv_b_proj";

  std::string router = "mlp.gate";  ///< of the layer
  std::string router_weight = ".weight";
  std::string selection_bias = "mlp.gate.e_score_correction_bias";
  bool selection_bias_is_row = false;  ///< [1, E] instead of [E]
  std::string block = "mlp.";          ///< of the layer
  ExpertLayout layout = ExpertLayout::kSeparate;
  std::string experts = "experts.";  ///< of the block
  std::string gate = "gate_proj";
  std::string up = "up_proj";
  std::string down = "down_proj";
  std::string fused_weight;  ///< suffix of stacked tensors
  std::string shared = "shared_experts.";
  std::string dense = "mlp.";  ///< a dense layer's MLP, of the layer
  std::string always_on;       ///< the always-on dense MLP, of the layer
};

/// @param family  one of the families; any other gets the commonest names
[[nodiscard]] TensorNames tensor_names(std::string_view family);
}  // namespace switchyard::runtime
