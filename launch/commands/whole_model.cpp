// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/whole_model.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <span>

#include "comm/collective.hpp"
#include "experts/kernels/dispatch.hpp"
#include "launch/commands/run_options.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
std::string checkpoint_of(const Options& options) {
  if (options.has("checkpoint")) return options.text("checkpoint");
  throw std::invalid_argument("--checkpoint: got none, want a folder with a released model");
}

experts::DType stored_type(const Options& options, const runtime::Checkpoint& checkpoint) {
  const std::string name = options.text("weights");
  if (name != "auto") return experts::dtype_from(name);
  const auto layers = checkpoint.model().moe_layers();
  return layers.empty() ? experts::DType::kFloat32
                        : checkpoint.block(layers.front())->expert(0).up.type;
}

runtime::Checkpoint open_checkpoint(Context& context) {
  std::optional<runtime::Checkpoint> checkpoint;
  runtime::together(context.group(), [&] { checkpoint.emplace(checkpoint_of(context.options)); });
  return *checkpoint;
}
}  // namespace

std::vector<Option> whole_model_options() {
  std::vector<Option> options{
      text_option("checkpoint", "DIRECTORY", "a released model: config.json and safetensors"),
      text_option("tokenizer", "auto|bytes|none|FILE",
                  "text to ids and back; auto: tokenizer.json or tokenizer.model of the "
                  "checkpoint; bytes: the bytes of the text; FILE: .json or .model",
                  "auto"),
      flag_option("routing-stats", "how evenly each layer's router used its experts"),
  };
  for (auto* const more : {&layer_options, &math_options}) {
    auto list = (*more)();
    options.insert(options.end(), std::make_move_iterator(list.begin()),
                   std::make_move_iterator(list.end()));
  }
  return options;
}

std::vector<comm::Field> prepare_whole_model(const Options& options) {
  const runtime::Checkpoint checkpoint(checkpoint_of(options));
  return {{"model digest", runtime::sha256(checkpoint.model().text()).substr(0, 16)}};
}

WholeModel::WholeModel(Context& context) : checkpoint(open_checkpoint(context)) {
  runtime::TransformerOptions settings;
  runtime::together(context.group(), [&] {
    settings.layer = layer_settings(context.options);
    settings.layer.math = math_of(context.options);
    settings.layer.stored = stored_type(context.options, checkpoint);
  });
  settings.placement = context.options.text("placement");
  layer = settings.layer;
  const auto start = std::chrono::steady_clock::now();
  model = std::make_unique<runtime::TransformerModel>(
      runtime::Transformer(context.group(), checkpoint, settings));
  const std::vector<double> mine{
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
      static_cast<double>(model->transformer().weight_bytes())};
  for (const auto& of_rank : comm::allgather_values<double>(context.group(), std::span(mine))) {
    load_s = std::max(load_s, of_rank[0]);
    weight_bytes = std::max(weight_bytes, of_rank[1]);
  }
}

std::string WholeModel::describe() const {
  const auto& of = checkpoint.model();
  return of.name() + ", " + std::to_string(of.num_layers()) + " layers, " +
         std::to_string(of.num_moe_layers()) + " of them MoE";
}

std::optional<runtime::TextRules> tokenizer_of(const Options& options, bool needed) {
  const std::filesystem::path folder = checkpoint_of(options);
  const std::string choice = options.text("tokenizer");
  if (choice == "none") {
    if (!needed) return std::nullopt;
    throw std::invalid_argument(
        "--tokenizer: got none with a text, want auto, bytes or FILE; --prompt-ids and --ids "
        "need none");
  }
  if (choice == "auto" && !needed && !runtime::has_tokenizer(folder)) return std::nullopt;
  return runtime::open_tokenizer(folder, choice);
}

void print_row(std::ostream& out, std::string name, const std::string& value) {
  name.resize(16, ' ');
  out << name << value << '\n';
}

std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

void print_whole(const WholeModel& whole, int ranks, std::ostream& out) {
  print_row(out, "model", whole.describe());
  print_row(
      out, "ranks",
      std::to_string(ranks) + ", kernels " + std::string(experts::name_of(whole.layer.isa)) +
          ", math " +
          std::string(experts::math_name(whole.layer.isa, whole.layer.math, whole.layer.stored)) +
          ", expert weights " + std::string(experts::name_of(whole.layer.stored)) + " (" +
          fixed(whole.weight_bytes / 1e6, 1) + " MB on the largest rank, loaded in " +
          fixed(whole.load_s, 1) + " s)");
}

nlohmann::ordered_json whole_json(const WholeModel& whole) {
  return {{"model", whole.checkpoint.model().name()},
          {"isa", experts::name_of(whole.layer.isa)},
          {"weights", experts::name_of(whole.layer.stored)},
          {"math_name", experts::math_name(whole.layer.isa, whole.layer.math, whole.layer.stored)},
          {"load_s", whole.load_s},
          {"weight_bytes_largest_rank", whole.weight_bytes}};
}

void print_routing(const std::vector<runtime::LayerLoad>& layers, std::ostream& out) {
  out << "\nlayer     slots  dropped  balancedness  busiest (slots)    unused experts\n";
  for (const auto& layer : layers) {
    char line[128];
    std::snprintf(line, sizeof line, "%5lld %9lld %8lld %13.3f %8lld (%lld) %*lld of %zu\n",
                  static_cast<long long>(layer.layer), static_cast<long long>(layer.slots),
                  static_cast<long long>(layer.dropped), layer.balancedness,
                  static_cast<long long>(layer.busiest), static_cast<long long>(layer.most), 8,
                  static_cast<long long>(layer.unused), layer.load.size());
    out << line;
  }
}

nlohmann::ordered_json routing_json(const std::vector<runtime::LayerLoad>& layers) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& layer : layers) {
    list.push_back({{"layer", layer.layer},
                    {"slots", layer.slots},
                    {"dropped", layer.dropped},
                    {"balancedness", layer.balancedness},
                    {"unused_experts", layer.unused},
                    {"load", layer.load}});
  }
  return list;
}
}  // namespace switchyard::launch
