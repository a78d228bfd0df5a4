// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/describe.hpp"

#include <array>
#include <cstdio>
#include <google/protobuf/descriptor.h>
#include <utility>

#include "experts/router/router.hpp"
#include "runtime/model/model.pb.h"

namespace switchyard::runtime {
namespace {
namespace v1 = model::v1;
using Message = v1::Model;

/// "46,702,792,704"
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

/// "46.70B"
std::string billions(std::int64_t number) {
  return formatted("%.2fB", static_cast<double>(number) / 1e9);
}

/// "+0.01%"; "" without a published figure.
std::string error_of(std::int64_t computed, std::int64_t published) {
  if (published == 0) return "";
  return formatted("%+.2f%%", 100.0 * static_cast<double>(computed - published) /
                                  static_cast<double>(published));
}

std::string against(std::int64_t computed, std::int64_t published) {
  std::string text = grouped(computed);
  if (published == 0) return text + " (not published)";
  return text + " (published " + billions(published) + ", " + error_of(computed, published) + ")";
}

/// The name of an enum field's value.
std::string word(const Message& m, const char* field) {
  const auto* descriptor = m.GetDescriptor()->FindFieldByName(field);
  return m.GetReflection()->GetEnum(m, descriptor)->name();
}

std::string layers_in_words(const Model& model) {
  const Message& m = model.message();
  std::string text =
      std::to_string(m.num_layers()) + ", with experts " + std::to_string(model.num_moe_layers());
  if (m.first_k_dense() > 0) text += "; first " + std::to_string(m.first_k_dense()) + " dense";
  if (m.moe_every() > 1) {
    text += "; experts where layer mod " + std::to_string(m.moe_every()) + " = " +
            std::to_string(m.moe_offset());
  }
  if (m.dense_layers_size() > 0) {
    text += "; " + std::to_string(m.dense_layers_size()) + " dense by number";
  }
  return text;
}

std::string network_in_words(const Message& m) {
  std::string text = word(m, "expert_unit") + " " + word(m, "expert_activation") + ", width " +
                     std::to_string(m.moe_intermediate_size());
  if (m.expert_bias() == v1::ExpertBias::yes) text += ", with biases";
  if (m.expert_bias() == v1::ExpertBias::shared_output_bias) text += ", one bias on the sum";
  return text;
}

std::string attention_in_words(const Message& m) {
  std::string text = word(m, "attention") + ", " + std::to_string(m.num_heads()) + " heads of " +
                     std::to_string(m.head_dim());
  if (m.kv_lora_rank() > 0) {
    text +=
        ", ranks " + std::to_string(m.q_lora_rank()) + " and " + std::to_string(m.kv_lora_rank());
  } else {
    text += ", " + std::to_string(m.num_kv_heads()) + " for keys and values";
  }
  if (m.attn_bias() != v1::AttnBias::no) text += ", bias " + word(m, "attn_bias");
  if (m.qk_norm() != v1::QkNorm::no) text += ", q/k norm " + word(m, "qk_norm");
  if (m.attention_window() > 0) text += ", window " + std::to_string(m.attention_window());
  return text;
}

void add_always_on(const Message& m, std::vector<Property>& rows) {
  if (m.shared_intermediate_size() > 0) {
    std::string text = std::to_string(m.shared_experts()) + ", width together " +
                       std::to_string(m.shared_intermediate_size());
    if (m.shared_expert_gate() == v1::SharedExpertGate::sigmoid) text += ", times sigmoid(w x)";
    rows.push_back({"shared experts", text});
  }
  if (m.dense_residual() != v1::DenseResidual::none) {
    rows.push_back({"always-on dense MLP", word(m, "dense_residual") + ", width " +
                                               std::to_string(m.dense_intermediate_size())});
  }
}

void add_parameters(const Model& model, std::vector<Property>& rows) {
  const Message& m = model.message();
  const ParameterCount count = model.parameters();
  const std::int64_t active = m.active_params_published();
  rows.push_back({"total parameters", against(count.total, m.total_params_published())});
  rows.push_back({"active parameters", against(count.active, active)});
  rows.push_back({"active less input embedding", against(count.active_less_input, active)});
  rows.push_back({"active less both embeddings", against(count.active_less_embeddings, active)});
}
}  // namespace

std::vector<Property> describe_model(const Model& model) {
  const Message& m = model.message();
  std::vector<Property> rows{{"name", m.name()}, {"family", m.family()}};
  if (!m.released().empty()) rows.push_back({"released", m.released()});
  if (!m.affiliation().empty()) rows.push_back({"affiliation", m.affiliation()});
  rows.push_back({"hidden size", std::to_string(m.hidden_size())});
  rows.push_back({"layers", layers_in_words(model)});
  std::string experts = std::to_string(m.routed_experts()) + ", top " + std::to_string(m.top_k());
  if (m.zero_experts() > 0) experts += ", and " + std::to_string(m.zero_experts()) + " identities";
  rows.push_back({"routed experts", experts});
  rows.push_back({"expert", network_in_words(m)});
  rows.push_back({"router", experts::describe(model.block().router)});
  if (m.router_bias()) rows.push_back({"router bias", "part of the logits"});
  if (m.selection_bias()) rows.push_back({"selection bias", "moves the choice, not the weights"});
  add_always_on(m, rows);
  if (m.capacity_rule() != v1::CapacityRule::none) {
    rows.push_back({"capacity in training",
                    word(m, "capacity_rule") + ", factor " + formatted("%g", m.capacity_factor())});
  }
  rows.push_back({"attention", attention_in_words(m)});
  rows.push_back(
      {"vocabulary", std::to_string(m.vocab_size()) +
                         (m.tie_embeddings() ? ", one table for input and output" : "")});
  add_parameters(model, rows);
  if (!m.source().empty()) rows.push_back({"source", m.source()});
  if (!m.notes().empty()) rows.push_back({"notes", m.notes()});
  if (!m.corrections().empty()) rows.push_back({"quoted wrongly", m.corrections()});
  return rows;
}

ModelSummary summarise(const Model& model) {
  const Message& m = model.message();
  ModelSummary row;
  row.name = m.name();
  row.family = m.family();
  row.layers = m.num_layers();
  row.moe_layers = model.num_moe_layers();
  row.hidden_size = m.hidden_size();
  row.moe_intermediate_size = m.moe_intermediate_size();
  row.routed_experts = m.routed_experts();
  row.top_k = m.top_k();
  row.shared_experts = m.shared_experts();
  row.parameters = model.parameters();
  row.total_published = m.total_params_published();
  row.active_published = m.active_params_published();
  row.corrections = m.corrections();
  return row;
}

Table model_table(const std::vector<ModelSummary>& models) {
  Table table;
  table.columns = {"name",
                   "layers",
                   "moe_layers",
                   "hidden",
                   "width",
                   "experts",
                   "top_k",
                   "shared",
                   "total_parameters",
                   "total_error",
                   "active_parameters",
                   "active_error",
                   "less_input",
                   "less_both",
                   "total/active"};
  for (const ModelSummary& m : models) {
    table.rows.push_back(
        {m.name, std::to_string(m.layers), std::to_string(m.moe_layers),
         std::to_string(m.hidden_size), std::to_string(m.moe_intermediate_size),
         std::to_string(m.routed_experts), std::to_string(m.top_k),
         std::to_string(m.shared_experts), billions(m.parameters.total),
         error_of(m.parameters.total, m.total_published), billions(m.parameters.active),
         error_of(m.parameters.active, m.active_published),
         billions(m.parameters.active_less_input), billions(m.parameters.active_less_embeddings),
         formatted("%.1f", static_cast<double>(m.parameters.total) /
                               static_cast<double>(m.parameters.active))});
  }
  return table;
}

Table model_table() {
  std::vector<ModelSummary> models;
  for (const std::string& name : Model::preset_names()) {
    models.push_back(summarise(Model::preset(name)));
  }
  return model_table(models);
}
}  // namespace switchyard::runtime
