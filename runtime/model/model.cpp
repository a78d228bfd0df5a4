// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/model.hpp"

#include <algorithm>
#include <google/protobuf/text_format.h>
#include <stdexcept>
#include <utility>

#include "runtime/model/fields.hpp"
#include "runtime/model/model.pb.h"
#include "runtime/model/nearest.hpp"
#include "runtime/model/presets.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime {
namespace {
using Message = model::v1::Model;

/// By name.
std::vector<Message> all_presets() {
  std::vector<Message> presets;
  std::string_view rest = preset_texts();
  while (!rest.empty()) {
    const std::size_t end = rest.find('\f');
    Message preset;
    parse_text(rest.substr(0, end), "preset " + std::to_string(presets.size()), preset);
    presets.push_back(std::move(preset));
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
  }
  std::sort(presets.begin(), presets.end(),
            [](const Message& a, const Message& b) { return a.name() < b.name(); });
  return presets;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}
/// The name that is nearest as a whole, else the one whose beginning is: "olmo2" means "olmoe-...".
std::string nearest_beginning(const std::string& wanted, const std::vector<std::string>& names) {
  if (std::string whole = nearest(wanted, names); !whole.empty()) return whole;
  std::vector<std::string> beginnings;
  for (const std::string& name : names) beginnings.push_back(name.substr(0, wanted.size()));
  const std::string found = nearest(wanted, beginnings);
  const auto at = std::find(beginnings.begin(), beginnings.end(), found);
  return found.empty() ? found : names[static_cast<std::size_t>(at - beginnings.begin())];
}
}  // namespace

Model::Model(Message message) : message_(std::make_shared<const Message>(std::move(message))) {}
Model::Model(const Model&) = default;
Model& Model::operator=(const Model&) = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

std::vector<std::string> Model::preset_names() {
  std::vector<std::string> names;
  for (const Message& preset : all_presets()) names.push_back(preset.name());
  return names;
}

Model Model::preset(std::string_view name) {
  const std::string wanted = lower(name);
  std::vector<std::string> names;
  std::vector<std::string> matches;
  Message match;
  for (Message& preset : all_presets()) {
    names.push_back(preset.name());
    if (preset.name() == wanted) return Model(std::move(preset));
    if (!preset.name().starts_with(wanted)) continue;
    matches.push_back(preset.name());
    match = std::move(preset);
  }
  if (matches.size() == 1) return Model(std::move(match));
  const std::string got = "model: got '" + std::string(name) + "', want ";
  if (!matches.empty()) throw std::invalid_argument(got + "one of " + one_of(matches));
  const std::string hint = nearest_beginning(wanted, names);
  throw std::invalid_argument(got + "one of " + one_of(names) +
                              (hint.empty() ? "" : "; nearest is " + hint));
}

Model Model::from_file(const std::filesystem::path& file) {
  Message message;
  parse_text(read_text(file), file.string(), message);
  Model model(std::move(message));
  try {
    model.validate();
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(file.string() + ": " + error.what());
  }
  return model;
}

Model Model::from_name_or_file(const std::string& name_or_file) {
  const std::vector<std::string> names = preset_names();
  const bool named = std::find(names.begin(), names.end(), lower(name_or_file)) != names.end();
  if (!named && std::filesystem::exists(name_or_file)) return from_file(name_or_file);
  return preset(name_or_file);
}

void Model::set(std::string_view assignment) {
  auto changed = std::make_shared<Message>(*message_);
  set_field(*changed, assignment);
  message_ = std::move(changed);
}

Model Model::first_layers(std::int64_t count) const {
  const std::vector<std::int64_t> with_experts = moe_layers();
  const std::int64_t first = with_experts.empty() ? 0 : with_experts.front();
  if (count <= first || count > num_layers()) {
    throw std::invalid_argument("--layers: got " + std::to_string(count) + ", want " +
                                std::to_string(first + 1) + " to " + std::to_string(num_layers()) +
                                ": layer " + std::to_string(first) + " is the first with experts");
  }
  Message shorter = *message_;
  shorter.set_num_layers(count);
  for (auto* const layers : {shorter.mutable_dense_layers(), shorter.mutable_no_rope_layers(),
                             shorter.mutable_full_attention_layers()}) {
    layers->erase(std::remove_if(layers->begin(), layers->end(),
                                 [&](std::int64_t layer) { return layer >= count; }),
                  layers->end());
  }
  return Model(std::move(shorter));
}

std::string Model::name() const {
  return message_->name();
}
std::string Model::family() const {
  return message_->family();
}
std::int64_t Model::num_layers() const {
  return message_->num_layers();
}
bool Model::router_bias() const {
  return message_->router_bias();
}
bool Model::selection_bias() const {
  return message_->selection_bias();
}

std::vector<std::int64_t> Model::moe_layers() const {
  const Message& m = *message_;
  const std::int64_t every = std::max<std::int64_t>(m.moe_every(), 1);
  std::vector<std::int64_t> layers;
  for (std::int64_t layer = std::max<std::int64_t>(m.first_k_dense(), 0); layer < m.num_layers();
       ++layer) {
    const auto& dense = m.dense_layers();
    if (layer % every == m.moe_offset() &&
        std::find(dense.begin(), dense.end(), layer) == dense.end()) {
      layers.push_back(layer);
    }
  }
  return layers;
}

std::int64_t Model::num_moe_layers() const {
  return static_cast<std::int64_t>(moe_layers().size());
}

std::string Model::text() const {
  google::protobuf::TextFormat::Printer printer;
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  if (!printer.PrintToString(*message_, &text)) {
    throw std::runtime_error("model: cannot be written as text");
  }
  return text;
}
}  // namespace switchyard::runtime
