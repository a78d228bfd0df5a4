// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/fields.hpp"

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/model/nearest.hpp"

namespace switchyard::runtime {
namespace {
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

[[noreturn]] void refuse(std::string_view assignment, const std::string& why) {
  throw std::invalid_argument("--set " + std::string(assignment) + ": " + why);
}

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Lower case, with everything but letters and digits as single underscores between them.
std::string word_of(std::string_view text) {
  std::string word;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0) {
      word += static_cast<char>(std::tolower(byte));
    } else if (!word.empty() && word.back() != '_') {
      word += '_';
    }
  }
  while (!word.empty() && word.back() == '_') word.pop_back();
  return word;
}

/// What a spelling of the tables stands for, as assignments with blanks between; "" if it is none.
std::string_view meaning(std::string_view field, std::string_view word) {
  if (field == "scoring") {
    if (word == "sparsemixer") return "choice=sparsemixer scoring=none";
    if (word == "attention_router") {
      return "logits=attention scoring=softmax normalize_topk=within_topk";
    }
  } else if (field == "expert_activation") {
    if (word == "swiglu_linear_trilinear") return "expert_unit=trilinear expert_activation=swiglu";
    if (word == "silu" || word == "swish") return "expert_activation=swiglu";
    if (word == "gelu" || word == "geglu_erf") return "expert_activation=geglu";
    if (word == "gelu_tanh" || word == "gelu_pytorch_tanh") return "expert_activation=geglu_tanh";
    if (word == "relu") return "expert_activation=reglu";
  } else if (field == "attention") {
    if (word == "mha") return "attention=gqa";
    if (word == "mha_lfa") return "attention=gqa_lfa";
    if (word == "gqa_chunked_nope_mix") return "attention=gqa_chunked";
    if (word == "gqa_sinks_alternating_window_128") {
      return "attention=gqa_sinks attention_window=128";
    }
  } else if (field == "moe_layer_rule" && word == "all") {
    return "first_k_dense=0 moe_every=0 moe_offset=0";
  }
  return "";
}

std::int64_t parse_integer(std::string_view assignment, std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    refuse(assignment, "got '" + std::string(text) + "', want a whole number");
  }
  return value;
}

double parse_real(std::string_view assignment, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    refuse(assignment, "got '" + std::string(text) + "', want a finite number");
  }
  return value;
}

bool parse_bool(std::string_view assignment, std::string_view text) {
  const std::string word = word_of(text);
  if (word == "yes" || word == "true" || word == "1") return true;
  if (word == "no" || word == "false" || word == "0") return false;
  refuse(assignment, "got '" + std::string(text) + "', want yes or no");
}

const EnumValueDescriptor* parse_enum(std::string_view assignment, const EnumDescriptor& values,
                                      std::string_view text) {
  std::string word = word_of(text);
  const EnumValueDescriptor* found = values.FindValueByName(word);
  if (found == nullptr) {
    if (word == "true" || word == "1") word = "yes";
    if (word == "false" || word == "0") word = "no";
    found = values.FindValueByName(word);
  }
  if (found != nullptr) return found;
  std::vector<std::string> names;
  for (int i = 0; i < values.value_count(); ++i) names.push_back(values.value(i)->name());
  refuse(assignment, "got '" + std::string(text) + "', want " + one_of(names));
}

void set_list(Message& model, const FieldDescriptor& field, std::string_view assignment,
              std::string_view text) {
  const auto& reflection = *model.GetReflection();
  reflection.ClearField(&model, &field);
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const auto item = trim(text.substr(0, comma));
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
      reflection.AddDouble(&model, &field, parse_real(assignment, item));
    } else {
      reflection.AddInt64(&model, &field, parse_integer(assignment, item));
    }
    text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
  }
}

void set_one(Message& model, const FieldDescriptor& field, std::string_view assignment,
             std::string_view text) {
  const auto& reflection = *model.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(&model, &field, parse_integer(assignment, text));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.SetDouble(&model, &field, parse_real(assignment, text));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(&model, &field, parse_bool(assignment, text));
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.SetString(&model, &field, std::string(text));
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnum(&model, &field, parse_enum(assignment, *field.enum_type(), text));
    default:
      refuse(assignment, "a field of this type cannot be set from text");
  }
}

[[noreturn]] void refuse_name(const Message& model, std::string_view assignment,
                              const std::string& name) {
  if (name == "num_moe_layers") {
    refuse(assignment, "is computed, set first_k_dense, moe_every, moe_offset or dense_layers");
  }
  if (name == "total_params_computed" || name == "active_params_computed") {
    refuse(assignment, "is computed, set the fields that it is the sum of");
  }
  std::vector<std::string> names;
  for (int i = 0; i < model.GetDescriptor()->field_count(); ++i) {
    names.push_back(model.GetDescriptor()->field(i)->name());
  }
  const std::string hint = nearest(name, names);
  refuse(assignment,
         "no such field, " + (hint.empty() ? "want " + one_of(names) : "nearest is " + hint));
}

/// "first_k_dense=3" or "every=2;offset=1".
void set_layer_rule(Message& model, std::string_view assignment, std::string_view rule) {
  set_field(model, "moe_layer_rule=all");
  while (!rule.empty()) {
    const std::size_t semicolon = rule.find(';');
    const std::string part(trim(rule.substr(0, semicolon)));
    if (part.starts_with("first_k_dense=")) {
      set_field(model, part);
    } else if (part.starts_with("every=") || part.starts_with("offset=")) {
      set_field(model, "moe_" + part);
    } else {
      refuse(assignment, "want all, first_k_dense=N or every=N;offset=N");
    }
    rule = semicolon == std::string_view::npos ? "" : rule.substr(semicolon + 1);
  }
}
}  // namespace

void set_field(Message& model, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) refuse(assignment, "want FIELD=VALUE");
  const std::string name(trim(assignment.substr(0, equals)));
  const std::string_view value = trim(assignment.substr(equals + 1));

  if (std::string_view rest = meaning(name, word_of(value)); !rest.empty()) {
    while (!rest.empty()) {
      const std::size_t blank = rest.find(' ');
      set_field(model, rest.substr(0, blank));
      rest = blank == std::string_view::npos ? "" : rest.substr(blank + 1);
    }
    return;
  }
  if (name == "moe_layer_rule") return set_layer_rule(model, assignment, value);
  const FieldDescriptor* field = model.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr) refuse_name(model, assignment, name);
  if (field->is_repeated()) return set_list(model, *field, assignment, value);
  set_one(model, *field, assignment, value);
}
}  // namespace switchyard::runtime
