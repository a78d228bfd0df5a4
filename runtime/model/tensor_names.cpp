// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/tensor_names.hpp"

namespace switchyard::runtime {
namespace {
/// Mixtral's, and of those that followed it.
TensorNames sparse_block() {
  TensorNames n;
  n.block = "block_sparse_moe.";
  n.router = "block_sparse_moe.gate";
  n.selection_bias = "block_sparse_moe.e_score_correction_bias";
  n.gate = "w1";
  n.up = "w3";
  n.down = "w2";
  return n;
}

TensorNames arctic() {
  TensorNames n = sparse_block();
  n.dense = "block_sparse_moe.mlp.";
  n.dense_norm = "residual_layernorm";
  n.always_on = "residual_mlp.";
  return n;
}

TensorNames dbrx() {
  TensorNames n;
  n.embedding = "transformer.wte.weight";
  n.final_norm = "transformer.norm_f";
  n.layer = "transformer.blocks.";
  n.norms = {"norm_attn_norm.norm_1", "norm_attn_norm.norm_2"};
  n.attention = "norm_attn_norm.attn.";
  n.qkv = "Wqkv";
  n.o = "out_proj";
  n.router = "ffn.router.layer";
  n.block = "ffn.";
  n.layout = ExpertLayout::kFlatRows;
  n.experts = "experts.mlp.";
  n.gate = "w1";
  n.up = "v1";
  n.down = "w2";
  return n;
}

TensorNames jamba() {
  TensorNames n;
  n.final_norm = "model.final_layernorm";
  n.norms = {"input_layernorm", "pre_ff_layernorm"};
  n.router = "feed_forward.router";
  n.block = "feed_forward.";
  n.dense = "feed_forward.";
  return n;
}

/// The vendor's JAX tree; matrices are [in, out].
TensorNames grok1() {
  TensorNames n;
  n.embedding = "language_model/in_out_embed/embeddings";
  n.final_norm = "language_model/rms_norm";
  n.head = "language_model/head";
  n.layer = "language_model/decoder_layer_";
  n.separator = "/";
  n.weight = "/w";
  n.norm_weight = "/scale";
  n.input_first = true;
  n.norms = {"rms_norm", "rms_norm_1", "rms_norm_2", "rms_norm_3"};
  n.attention = "multi_head_attention/";
  n.q = "query";
  n.k = "key";
  n.v = "value";
  n.o = "linear";
  n.router = "router";
  n.router_weight = "/w";
  n.block = "moe/";
  n.layout = ExpertLayout::kStacked;
  n.experts = "";
  n.gate = "linear";
  n.up = "linear_v";
  n.down = "linear_1";
  n.fused_weight = "/w";
  return n;
}

TensorNames llama_moe() {
  TensorNames n;
  n.router = "mlp.gate.gate_network";
  n.layout = ExpertLayout::kIndexedLast;
  n.experts = "calculator.experts.";
  n.gate = "weight_gate";
  n.up = "weight_up";
  n.down = "weight_down";
  return n;
}

TensorNames yuan() {
  TensorNames n;
  n.layout = ExpertLayout::kFusedEach;
  n.up = "w1";
  n.down = "w2";
  return n;
}

/// JetMoE and GraniteMoE: parallel linear layers.
TensorNames parallel_linear(const std::string& block) {
  TensorNames n;
  n.router = block + "router.layer";
  n.block = block;
  n.layout = ExpertLayout::kFusedRows;
  n.experts = "";
  n.up = "input_linear";
  n.down = "output_linear";
  n.fused_weight = ".weight";
  return n;
}

TensorNames jetmoe() {
  TensorNames n = parallel_linear("mlp.");
  n.attention = "self_attention.";
  return n;
}

TensorNames fused(ExpertLayout layout) {
  TensorNames n;
  n.layout = layout;
  n.up = "gate_up_proj";
  n.down = "down_proj";
  return n;
}

TensorNames gpt_oss() {
  TensorNames n = fused(ExpertLayout::kFusedColumns);
  n.router = "mlp.router";
  return n;
}

TensorNames llama4() {
  TensorNames n = fused(ExpertLayout::kFusedColumns);
  n.embedding = "language_model.model.embed_tokens.weight";
  n.final_norm = "language_model.model.norm";
  n.head = "language_model.lm_head";
  n.layer = "language_model.model.layers.";
  n.router = "feed_forward.router";
  n.block = "feed_forward.";
  n.dense = "feed_forward.";
  n.shared = "shared_expert.";
  return n;
}

TensorNames openmoe() {
  TensorNames n;
  n.dense_norm = "pre_extra_mlp_layernorm";
  n.always_on = "extra_mlp.";
  n.router = "mlp.gate_weight";
  n.router_weight = "";
  n.layout = ExpertLayout::kSplitColumns;
  n.gate = "wi_gate";
  n.up = "wi_up";
  n.down = "wo";
  return n;
}

/// Mistral's own names, not those of transformers.
TensorNames mistral_large_3() {
  TensorNames n;
  n.embedding = "tok_embeddings.weight";
  n.final_norm = "norm";
  n.head = "output";
  n.layer = "layers.";
  n.norms = {"attention_norm", "ffn_norm"};
  n.attention = "attention.";
  n.q = "wq";
  n.o = "wo";
  n.q_a = "wq_a";
  n.q_a_norm = "q_a_norm";
  n.q_b = "wq_b";
  n.kv_a = "wkv_a_with_mqa";
  n.kv_a_norm = "kv_a_norm";
  n.kv_b = "wkv_b";
  n.router = "gate";
  n.block = "";
  n.dense = "feed_forward.";
  n.gate = "w1";
  n.up = "w3";
  n.down = "w2";
  return n;
}
}  // namespace

TensorNames tensor_names(std::string_view family) {
  if (family == "mixtral" || family == "skywork_moe" || family == "phimoe" ||
      family == "minimax_m2") {
    return sparse_block();
  }
  if (family == "arctic") return arctic();
  if (family == "dbrx") return dbrx();
  if (family == "jamba") return jamba();
  if (family == "grok1") return grok1();
  if (family == "llama_moe") return llama_moe();
  if (family == "yuan") return yuan();
  if (family == "jetmoe") return jetmoe();
  if (family == "granitemoe") return parallel_linear("block_sparse_moe.");
  if (family == "mistral4") return fused(ExpertLayout::kFusedRows);
  if (family == "gpt_oss") return gpt_oss();
  if (family == "llama4") return llama4();
  if (family == "openmoe") return openmoe();
  if (family == "mistral_large_3") return mistral_large_3();
  TensorNames n;  // Qwen, DeepSeek, GLM, OLMoE
  if (family == "qwen2_moe" || family == "qwen3_next") n.shared = "shared_expert.";
  if (family == "ernie4_5_moe") {
    n.selection_bias = "mlp.moe_statics.e_score_correction_bias";
    n.selection_bias_is_row = true;
  }
  if (family == "longcat_flash") {
    n.router = "mlp.router.classifier";
    n.selection_bias = "mlp.router.e_score_correction_bias";
    n.dense = "mlps.";
  }
  if (family == "hunyuan" || family == "hunyuan_v1_moe") {
    n.router = "mlp.gate.wg";
    n.shared = "shared_mlp.";
    n.q_norm = "query_layernorm";
    n.k_norm = "key_layernorm";
  }
  return n;
}
}  // namespace switchyard::runtime
