// SPDX-License-Identifier: Apache-2.0
// models: every system's shape and parameters. models show: one of them in full.
#include <algorithm>

#include "launch/commands/all.hpp"
#include "runtime/model/describe.hpp"
#include "runtime/model/model.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
nlohmann::ordered_json or_null(std::int64_t published) {
  return published == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(published);
}

nlohmann::ordered_json to_json(const runtime::ModelSummary& model) {
  const runtime::ParameterCount& count = model.parameters;
  return {{"name", model.name},
          {"family", model.family},
          {"num_layers", model.layers},
          {"num_moe_layers", model.moe_layers},
          {"hidden_size", model.hidden_size},
          {"moe_intermediate_size", model.moe_intermediate_size},
          {"routed_experts", model.routed_experts},
          {"shared_experts", model.shared_experts},
          {"top_k", model.top_k},
          {"total_parameters", count.total},
          {"active_parameters", count.active},
          {"active_parameters_less_input_embedding", count.active_less_input},
          {"active_parameters_less_embeddings", count.active_less_embeddings},
          {"total_parameters_published", or_null(model.total_published)},
          {"active_parameters_published", or_null(model.active_published)},
          {"corrections", model.corrections}};
}

bool is_number(const std::string& cell) {
  return !cell.empty() && (cell.front() == '+' || cell.front() == '-' ||
                           (cell.front() >= '0' && cell.front() <= '9'));
}

/// Columns as wide as their widest cell; numbers to the right.
void print(const runtime::Table& table, std::ostream& out) {
  std::vector<std::size_t> widths;
  for (const std::string& column : table.columns) widths.push_back(column.size());
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const auto print_row = [&](const std::vector<std::string>& row, bool numbers) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      const bool right = i > 0 && (!numbers || row[i].empty() || is_number(row[i]));
      line += (i > 0 ? "  " : "") + (right ? padding + row[i] : row[i] + padding);
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
  };
  print_row(table.columns, false);
  for (const auto& row : table.rows) print_row(row, true);
}

int list_models(Context& context) {
  std::vector<runtime::ModelSummary> models;
  for (const std::string& name : runtime::Model::preset_names()) {
    models.push_back(runtime::summarise(runtime::Model::preset(name)));
  }
  print(runtime::model_table(models), context.out);
  context.out << "\nactive: every weight that a token touches; less_input: without the input "
                 "embedding; less_both: without both\nquoted wrongly elsewhere, models show NAME "
                 "says what is right:";
  for (const runtime::ModelSummary& model : models) {
    if (!model.corrections.empty()) context.out << ' ' << model.name;
  }
  context.out << '\n';
  if (!context.json.wanted()) return runtime::kDone;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const runtime::ModelSummary& model : models) list.push_back(to_json(model));
  context.json.write({{"models", std::move(list)}});
  return runtime::kDone;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t extent : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

int show_model(Context& context) {
  runtime::Model model = runtime::Model::from_name_or_file(context.options.positionals().front());
  for (const std::string& assignment : context.options.list("set")) model.set(assignment);
  model.validate();

  const std::vector<runtime::Property> properties = runtime::describe_model(model);
  std::size_t width = 0;
  for (const auto& property : properties) width = std::max(width, property.name.size());
  for (const auto& [name, value] : properties) {
    context.out << name << std::string(width + 2 - name.size(), ' ') << value << '\n';
  }

  nlohmann::ordered_json json = to_json(runtime::summarise(model));
  if (context.options.flag("tensors")) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    context.out << '\n';
    for (const runtime::TensorShape& tensor : model.tensors()) {
      context.out << tensor.name << ' ' << shape_text(tensor.shape) << ' ' << tensor.elements()
                  << '\n';
      list.push_back({{"name", tensor.name}, {"shape", tensor.shape}});
    }
    json["tensors"] = std::move(list);
  }
  context.json.write(json);
  return runtime::kDone;
}
}  // namespace

Command models_command() {
  return {.name = "models",
          .summary = "every preset's shape and parameters",
          .options = {},
          .run = list_models};
}

Command models_show_command() {
  return {.name = "models show",
          .summary = "one model in full: shape, router, parameters computed and published",
          .options = {list_option("set", "FIELD=VALUE",
                                  "change a field of the model (runtime/model/model.proto), such "
                                  "as routed_experts=5; may be repeated"),
                      flag_option("tensors", "list every tensor: name, shape, elements")},
          .positionals = {.unit = "MODEL",
                          .help = "a preset's name or any unique beginning of it, or a file in "
                                  "protobuf text format",
                          .least = 1,
                          .most = 1},
          .run = show_model};
}
}  // namespace switchyard::launch
