// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_list.hpp"

namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;

/// q and k norms of a layer; without keys of its own it has no k norm either.
void list_qk_norms(TensorList& list, const std::string& at, bool owns_keys) {
  const Message& m = list.model();
  if (m.qk_norm() != v1::QkNorm::per_head && m.qk_norm() != v1::QkNorm::full_width) return;
  const bool full = m.qk_norm() == v1::QkNorm::full_width;
  list.rms_norm(at + list.names().q_norm, (full ? m.num_heads() : 1) * m.head_dim());
  if (owns_keys) {
    list.rms_norm(at + list.names().k_norm, (full ? m.num_kv_heads() : 1) * m.head_dim());
  }
}

/// @param q_parts    2 where q_proj makes an output gate too (Qwen3-Next)
/// @param owns_keys  false where another layer's keys and values are used
void list_gqa(TensorList& list, const std::string& at, std::int64_t q_parts, bool owns_keys) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  const std::int64_t q = m.num_heads() * m.head_dim();
  const std::int64_t kv = m.num_kv_heads() * m.head_dim();
  const bool bias = m.attn_bias() != v1::AttnBias::no;
  if (!n.qkv.empty()) {
    list.linear(at + n.qkv, q + 2 * kv, m.hidden_size(), bias);
  } else {
    list.linear(at + n.q, q_parts * q, m.hidden_size(), bias);
    if (owns_keys) {
      list.linear(at + n.k, kv, m.hidden_size(), bias);
      list.linear(at + n.v, kv, m.hidden_size(), bias);
    }
  }
  list.linear(at + n.o, m.hidden_size(), q, m.attn_bias() == v1::AttnBias::yes);
  list_qk_norms(list, at, owns_keys);
}

void list_latent(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  const TensorNames& n = list.names();
  const std::int64_t q = m.num_heads() * (m.qk_nope_head_dim() + m.qk_rope_head_dim());
  const bool bias = m.attn_bias() == v1::AttnBias::yes;
  if (m.q_lora_rank() > 0) {
    list.linear(at + n.q_a, m.q_lora_rank(), m.hidden_size(), bias);
    list.rms_norm(at + n.q_a_norm, m.q_lora_rank());
    list.linear(at + n.q_b, q, m.q_lora_rank());
  } else {
    list.linear(at + n.q, q, m.hidden_size());
  }
  list.linear(at + n.kv_a, m.kv_lora_rank() + m.qk_rope_head_dim(), m.hidden_size(), bias);
  list.rms_norm(at + n.kv_a_norm, m.kv_lora_rank());
  list.linear(at + n.kv_b, m.num_heads() * (m.qk_nope_head_dim() + m.v_head_dim()),
              m.kv_lora_rank());
  list.linear(at + n.o, m.hidden_size(), m.num_heads() * m.v_head_dim(), bias);
}

void list_indexer(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  list.linear(at + "wq_b", m.index_heads() * m.index_head_dim(), m.q_lora_rank());
  list.linear(at + "wk", m.index_head_dim(), m.hidden_size());
  list.add(at + "k_norm.weight", {m.index_head_dim()});
  list.add(at + "k_norm.bias", {m.index_head_dim()});
  list.linear(at + "weights_proj", m.index_heads(), m.hidden_size());
}

/// Two causal convolutions over two positions each, and a norm.
void list_filter(TensorList& list, const std::string& at) {
  const std::int64_t d = list.model().hidden_size();
  list.add(at + "conv1.weight", {d / 2, d, 2, 1});
  list.add(at + "conv1.bias", {d / 2});
  list.add(at + "conv2.weight", {d, d / 2, 2, 1});
  list.add(at + "conv2.bias", {d});
  list.rms_norm(at + "output_layernorm", d);
}

/// Every expert maps to queries and back; keys and values are shared by all.
void list_mixture(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  const std::int64_t d = m.hidden_size();
  const std::int64_t e = m.routed_experts();
  const std::int64_t kv = m.num_kv_heads() * m.head_dim();
  list.linear(at + "experts.router.layer", e, d);
  list.add(at + "experts.input_linear.weight", {e, kv, d}, Part::kExpert);
  list.add(at + "experts.output_linear.weight", {e, d, kv}, Part::kExpert);
  if (m.expert_bias() == v1::ExpertBias::shared_output_bias) list.add(at + "experts.bias", {d});
  list.linear(at + "kv_proj", 2 * kv, d);
}

void list_mamba(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  const std::int64_t inner = m.mamba_inner();
  const std::int64_t rank = m.mamba_dt_rank();
  const std::int64_t state = m.mamba_state();
  list.linear(at + "in_proj", 2 * inner, m.hidden_size());
  list.add(at + "conv1d.weight", {inner, 1, m.mamba_conv()});
  list.add(at + "conv1d.bias", {inner});
  list.linear(at + "x_proj", rank + 2 * state, inner);
  list.linear(at + "dt_proj", inner, rank, true);
  list.add(at + "A_log", {inner, state});
  list.add(at + "D", {inner});
  list.linear(at + "out_proj", m.hidden_size(), inner);
  list.rms_norm(at + "dt_layernorm", rank);
  list.rms_norm(at + "b_layernorm", state);
  list.rms_norm(at + "c_layernorm", state);
}

void list_delta_net(TensorList& list, const std::string& at) {
  const Message& m = list.model();
  const std::int64_t key = m.linear_key_heads() * m.linear_key_head_dim();
  const std::int64_t value = m.linear_value_heads() * m.linear_value_head_dim();
  list.linear(at + "in_proj_qkvz", 2 * (key + value), m.hidden_size());
  list.linear(at + "in_proj_ba", 2 * m.linear_value_heads(), m.hidden_size());
  list.add(at + "conv1d.weight", {2 * key + value, 1, m.linear_conv()});
  list.add(at + "dt_bias", {m.linear_value_heads()});
  list.add(at + "A_log", {m.linear_value_heads()});
  list.rms_norm(at + "norm", m.linear_value_head_dim());
  list.linear(at + "out_proj", m.hidden_size(), value);
}
}  // namespace

void list_attention(TensorList& list, const std::string& prefix, const std::string& sublayer,
                    std::int64_t layer) {
  const Message& m = list.model();
  const std::string at = prefix + list.names().attention + sublayer;
  const bool full = layer % std::max<std::int64_t>(m.attn_every(), 1) == m.attn_offset();
  switch (m.attention()) {
    case v1::Attention::mla:
      return list_latent(list, at);
    case v1::Attention::mla_dsa:
      list_latent(list, at);
      return list_indexer(list, at + "indexer.");
    case v1::Attention::moa:
      return list_mixture(list, at);
    case v1::Attention::mamba_hybrid:
      return full ? list_gqa(list, at, 1, true) : list_mamba(list, prefix + "mamba.");
    case v1::Attention::delta_hybrid:
      return full ? list_gqa(list, at, 2, true) : list_delta_net(list, prefix + "linear_attn.");
    case v1::Attention::gqa_cla:
      return list_gqa(list, at, 1, layer % std::max<std::int64_t>(m.cla_share_factor(), 1) == 0);
    case v1::Attention::gqa_lfa:
      list_gqa(list, at, 1, true);
      return list_filter(list, at + "lf_gate.");
    case v1::Attention::gqa_sinks:
      list_gqa(list, at, 1, true);
      return list.add(at + "sinks", {m.num_heads()});
    default:
      return list_gqa(list, at, 1, true);
  }
}
}  // namespace switchyard::runtime
