// SPDX-License-Identifier: Apache-2.0
#include "runtime/sizing/cache.hpp"

#include <algorithm>

#include "runtime/model/model.pb.h"

namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;

bool listed(const google::protobuf::RepeatedField<std::int64_t>& layers, std::int64_t layer) {
  return std::find(layers.begin(), layers.end(), layer) != layers.end();
}

/// Tokens before the new one that a layer can see.
std::int64_t seen(const Message& m, std::int64_t layer, std::int64_t context) {
  if (listed(m.full_attention_layers(), layer)) return context;
  std::int64_t most = context;
  if (m.attention_window() > 0) most = std::min(most, m.attention_window());
  if (m.attention_chunk() > 0 && !listed(m.no_rope_layers(), layer)) {
    most = std::min(most, m.attention_chunk());
  }
  return most;
}

bool is_attention(const Message& m, std::int64_t layer) {
  const bool hybrid =
      m.attention() == v1::Attention::mamba_hybrid || m.attention() == v1::Attention::delta_hybrid;
  return !hybrid || layer % std::max<std::int64_t>(m.attn_every(), 1) == m.attn_offset();
}

/// Of a layer without attention: the last inputs of its convolution and its state.
std::int64_t recurrent(const Message& m) {
  if (m.attention() == v1::Attention::mamba_hybrid) {
    return m.mamba_inner() * (m.mamba_conv() - 1 + m.mamba_state());
  }
  const std::int64_t key = m.linear_key_heads() * m.linear_key_head_dim();
  const std::int64_t value = m.linear_value_heads() * m.linear_value_head_dim();
  return (2 * key + value) * (m.linear_conv() - 1) +
         m.linear_value_heads() * m.linear_key_head_dim() * m.linear_value_head_dim();
}

/// Of one token in a layer with attention of its own.
std::int64_t per_token(const Message& m) {
  switch (m.attention()) {
    case v1::Attention::mla:
      return m.kv_lora_rank() + m.qk_rope_head_dim();
    case v1::Attention::mla_dsa:
      return m.kv_lora_rank() + m.qk_rope_head_dim() + m.index_head_dim();
    default:
      return 2 * m.num_kv_heads() * m.head_dim();
  }
}

bool owns_keys(const Message& m, std::int64_t layer) {
  return m.attention() != v1::Attention::gqa_cla ||
         layer % std::max<std::int64_t>(m.cla_share_factor(), 1) == 0;
}

std::int64_t sublayers(const Message& m) {
  return std::max<std::int64_t>(m.sublayers(), 1);
}
}  // namespace

std::int64_t cache_elements(const Model& model, std::int64_t context) {
  const Message& m = model.message();
  std::int64_t elements = 0;
  for (std::int64_t layer = 0; layer < m.num_layers(); ++layer) {
    if (!is_attention(m, layer)) {
      elements += recurrent(m);
    } else if (owns_keys(m, layer)) {
      elements += sublayers(m) * seen(m, layer, context) * per_token(m);
    }
    // Yuan's filter looks back at two rows: one of its input, one between its convolutions.
    if (m.attention() == v1::Attention::gqa_lfa) elements += m.hidden_size() + m.hidden_size() / 2;
  }
  return elements;
}

double attention_flops(const Model& model, std::int64_t context) {
  const Message& m = model.message();
  const bool latent =
      m.attention() == v1::Attention::mla || m.attention() == v1::Attention::mla_dsa;
  const std::int64_t value_dim = latent ? m.v_head_dim() : m.head_dim();
  double flops = 0;
  for (std::int64_t layer = 0; layer < m.num_layers(); ++layer) {
    if (!is_attention(m, layer)) {
      flops += 6.0 * static_cast<double>(recurrent(m));  // decay, input, output of every state
      continue;
    }
    std::int64_t keys = seen(m, layer, context);
    if (m.attention() == v1::Attention::mla_dsa) {
      flops += 2.0 * static_cast<double>(m.index_heads() * m.index_head_dim() * keys);
      keys = std::min(keys, m.index_topk());
    }
    flops +=
        2.0 * static_cast<double>(sublayers(m) * m.num_heads() * (m.head_dim() + value_dim) * keys);
  }
  return flops;
}
}  // namespace switchyard::runtime
