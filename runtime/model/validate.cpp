// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <stdexcept>
#include <string>

#include "experts/router/router.hpp"
#include "runtime/model/model.hpp"
#include "runtime/model/model.pb.h"

namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;
using google::protobuf::FieldDescriptor;

// Limits far above any known system. They keep every sum of parameters below 2^63 and every list of
// tensors in memory.
constexpr std::int64_t kMaxLayers = 4096;
constexpr std::int64_t kMaxWidth = std::int64_t{1} << 19;
constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 31;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 40;     // tokens of one text
constexpr std::int64_t kMaxProjection = std::int64_t{1} << 22;  // heads x head size
constexpr std::int64_t kMaxExperts = std::int64_t{1} << 22;     // of all layers

void want(bool holds, const std::string& field, const std::string& got, const std::string& range) {
  if (!holds) throw std::invalid_argument("model: " + field + " is " + got + ", want " + range);
}

void want_range(const char* field, std::int64_t value, std::int64_t low, std::int64_t high) {
  want(value >= low && value <= high, field, std::to_string(value),
       std::to_string(low) + " to " + std::to_string(high));
}

/// Every number of the message, whatever it means: not negative, finite, not absurd.
void check_numbers(const Message& m) {
  const auto& reflection = *m.GetReflection();
  const auto& fields = *m.GetDescriptor();
  for (int i = 0; i < fields.field_count(); ++i) {
    const FieldDescriptor& field = *fields.field(i);
    if (field.is_repeated()) continue;
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      const double value = reflection.GetDouble(m, &field);
      want(std::isfinite(value) && value >= 0, field.name(), std::to_string(value),
           "a number from 0");
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
      const bool published = field.name().ends_with("_published");
      const bool vocabulary = field.number() == Message::kVocabSizeFieldNumber ||
                              field.number() == Message::kBosTokenFieldNumber;
      const bool context = field.number() == Message::kMaxContextFieldNumber ||
                           field.number() == Message::kRopeOriginalContextFieldNumber;
      want_range(field.name().c_str(), reflection.GetInt64(m, &field), 0,
                 published    ? INT64_MAX
                 : vocabulary ? kMaxVocabulary
                 : context    ? kMaxContext
                              : kMaxWidth);
    } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      const int value = reflection.GetEnumValue(m, &field);
      want(field.enum_type()->FindValueByNumber(value) != nullptr, field.name(),
           std::to_string(value), "a value that model.proto knows");
    }
  }
}

void check_layers(const Model& model, const Message& m) {
  want_range("num_layers", m.num_layers(), 1, kMaxLayers);
  want_range("first_k_dense", m.first_k_dense(), 0, m.num_layers() - 1);
  want_range("moe_offset", m.moe_offset(), 0, std::max<std::int64_t>(m.moe_every(), 1) - 1);
  for (const std::int64_t layer : m.dense_layers()) {
    want_range("dense_layers", layer, 0, m.num_layers() - 1);
  }
  const std::int64_t with_experts = model.num_moe_layers();
  want_range("num_moe_layers", with_experts, 1, m.num_layers());
  want(m.routed_experts() <= kMaxExperts / with_experts, "routed_experts",
       std::to_string(m.routed_experts()) + " in each of " + std::to_string(with_experts) +
           " layers",
       "at most " + std::to_string(kMaxExperts) + " in all");
  if (with_experts < m.num_layers() && m.sublayers() == 0) {
    want(m.dense_layer_intermediate_size() + m.dense_intermediate_size() > 0,
         "dense_intermediate_size", "0",
         "the width of " + std::to_string(m.num_layers() - with_experts) + " dense layers");
  }
}

void check_router(const Message& m) {
  const std::int64_t all = m.routed_experts() + m.zero_experts();
  want_range("top_k", m.top_k(), 1, all);
  const std::int64_t groups = std::max<std::int64_t>(m.n_group(), 1);
  const std::int64_t kept = std::max<std::int64_t>(m.topk_group(), 1);
  want(all % groups == 0, "n_group", std::to_string(groups),
       "a divisor of " + std::to_string(all) + " experts");
  want_range("topk_group", kept, 1, groups);
  want(kept * (all / groups) >= m.top_k(), "topk_group", std::to_string(kept),
       "groups with at least top_k " + std::to_string(m.top_k()) + " experts together");
  want(kept == groups || m.group_score() != v1::GroupScore::none, "group_score", "none",
       "max or sum_top2 to choose " + std::to_string(kept) + " of " + std::to_string(groups) +
           " groups");
  want(m.normalize_topk() != v1::NormalizeTopk::within_topk || m.scoring() != v1::Scoring::sigmoid,
       "scoring", "sigmoid", "softmax with normalize_topk within_topk");
}

void check_networks(const Message& m) {
  want((m.shared_experts() > 0) == (m.shared_intermediate_size() > 0), "shared_intermediate_size",
       std::to_string(m.shared_intermediate_size()),
       m.shared_experts() > 0 ? "a width, for shared_experts is not 0" : "0, as shared_experts is");
  want(m.shared_expert_gate() == v1::SharedExpertGate::none || m.shared_experts() > 0,
       "shared_expert_gate", "sigmoid", "none without shared experts");
  want(m.dense_residual() == v1::DenseResidual::none || m.dense_intermediate_size() > 0,
       "dense_intermediate_size", "0", "the width of the always-on dense MLP");
}

void check_attention(const Message& m) {
  want_range("num_heads", m.num_heads(), 1, kMaxWidth);
  want_range("num_kv_heads", m.num_kv_heads(), 1, m.num_heads());
  want(m.num_heads() % m.num_kv_heads() == 0, "num_kv_heads", std::to_string(m.num_kv_heads()),
       "a divisor of num_heads " + std::to_string(m.num_heads()));
  const bool latent =
      m.attention() == v1::Attention::mla || m.attention() == v1::Attention::mla_dsa;
  const std::int64_t widest = latent ? std::max(m.qk_nope_head_dim() + m.qk_rope_head_dim(),
                                                m.qk_nope_head_dim() + m.v_head_dim())
                                     : m.head_dim();
  want(widest >= 1, latent ? "qk_nope_head_dim" : "head_dim", "0", "a width");
  want(widest <= kMaxProjection / m.num_heads(), "num_heads",
       std::to_string(m.num_heads()) + " of " + std::to_string(widest),
       "at most " + std::to_string(kMaxProjection) + " elements together");
  if (latent) {
    want_range("kv_lora_rank", m.kv_lora_rank(), 1, kMaxWidth);
    want_range("v_head_dim", m.v_head_dim(), 1, kMaxWidth);
  }
  const bool hybrid =
      m.attention() == v1::Attention::mamba_hybrid || m.attention() == v1::Attention::delta_hybrid;
  if (hybrid) {
    want_range("attn_every", m.attn_every(), 1, kMaxLayers);
    want_range("attn_offset", m.attn_offset(), 0, m.attn_every() - 1);
  }
}

void check_positions(const Message& m) {
  const auto want_layers = [&m](const char* field, const auto& layers) {
    for (const std::int64_t layer : layers) want_range(field, layer, 0, m.num_layers() - 1);
  };
  want_layers("no_rope_layers", m.no_rope_layers());
  want_layers("full_attention_layers", m.full_attention_layers());
  for (const std::int64_t id : m.eos_tokens()) want_range("eos_tokens", id, 0, kMaxVocabulary);
  want_range("rotary_dim", m.rotary_dim(), 0, std::max<std::int64_t>(m.head_dim(), 1));
  if (m.rope_scaling() == v1::RopeScaling::none) return;
  want(m.rope_factor() > 0, "rope_factor", std::to_string(m.rope_factor()), "a number above 0");
  if (m.rope_scaling() != v1::RopeScaling::longrope) return;
  const std::int64_t pairs = (m.rotary_dim() > 0 ? m.rotary_dim() : m.head_dim()) / 2;
  want(m.rope_short_factors_size() == pairs, "rope_short_factors",
       std::to_string(m.rope_short_factors_size()) + " numbers", std::to_string(pairs));
  want(m.rope_long_factors_size() == pairs, "rope_long_factors",
       std::to_string(m.rope_long_factors_size()) + " numbers", std::to_string(pairs));
}
}  // namespace

void Model::validate() const {
  const Message& m = *message_;
  check_numbers(m);
  want_range("hidden_size", m.hidden_size(), 1, kMaxWidth);
  want_range("moe_intermediate_size", m.moe_intermediate_size(), 1, kMaxWidth);
  want_range("routed_experts", m.routed_experts(), 1, kMaxWidth);
  want_range("vocab_size", m.vocab_size(), 1, kMaxVocabulary);
  check_layers(*this, m);
  check_router(m);
  check_networks(m);
  check_attention(m);
  check_positions(m);
  experts::validate(block().router);
}
}  // namespace switchyard::runtime
