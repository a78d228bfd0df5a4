// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/whole_model.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <span>

#include "comm/group/collective.hpp"
#include "experts/kernels/dispatch.hpp"
#include "launch/commands/pack_options.hpp"
#include "launch/commands/run_options.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/serve/crew.hpp"
#include "runtime/status.hpp"
#include "runtime/transformer/synthetic_weights.hpp"

namespace switchyard::launch {
namespace {
/// Whether weights are made up. @throws std::invalid_argument  neither or both, or more than fits
bool is_synthetic(const Options& options) {
  const bool synthetic = options.has("model");
  if (synthetic == options.has("checkpoint")) {
    throw std::invalid_argument(synthetic ? "--model: got it and --checkpoint, want one"
                                          : "--checkpoint: got none, want a folder with a released "
                                            "model, or --model for synthetic weights");
  }
  for (const char* name : {"set", "layers"}) {
    if (synthetic || !options.has(name)) continue;
    throw std::invalid_argument("--" + std::string(name) +
                                ": got it with --checkpoint, want it with --model only");
  }
  return synthetic;
}

runtime::Model synthetic_model(const Options& options) {
  runtime::Model model = runtime::Model::from_name_or_file(options.text("model"));
  for (const std::string& assignment : options.list("set")) model.set(assignment);
  if (options.has("layers")) model = model.first_layers(options.integer("layers"));
  model.validate();
  return model;
}

experts::DType stored_type(const Options& options,
                           const std::optional<runtime::Checkpoint>& checkpoint) {
  const std::string name = options.text("weights");
  if (name != "auto") return experts::dtype_from(name);
  return checkpoint ? runtime::own_type(*checkpoint) : experts::DType::kFloat32;
}

std::optional<runtime::Checkpoint> open_checkpoint(Context& context) {
  std::optional<runtime::Checkpoint> checkpoint;
  runtime::together(context.group(), [&] {
    if (context.options.has("checkpoint")) checkpoint.emplace(context.options.text("checkpoint"));
  });
  return checkpoint;
}
}  // namespace

std::vector<Option> whole_model_options() {
  std::vector<Option> options{
      text_option("checkpoint", "DIRECTORY", "a released model: config.json and safetensors"),
      text_option("model", "NAME|FILE",
                  "without a checkpoint: a preset, by any unique beginning, or a model file, with "
                  "synthetic weights"),
      list_option("set", "FIELD=VALUE", "changes one field of that model; any number of times"),
      integer_option("layers", "COUNT", "its first so many layers; without: all", std::nullopt,
                     {.least = 1}),
      text_option("tokenizer", "auto|bytes|none|FILE",
                  "text to ids and back; auto: tokenizer.json or tokenizer.model of the "
                  "checkpoint; bytes: the bytes of the text; FILE: .json or .model",
                  "auto"),
      flag_option("routing-stats", "how evenly each layer's router used its experts"),
  };
  for (auto* const more : {&layer_options, &math_options, &pack_options}) {
    auto list = (*more)();
    options.insert(options.end(), std::make_move_iterator(list.begin()),
                   std::make_move_iterator(list.end()));
  }
  return options;
}

std::vector<comm::Field> prepare_whole_model(const Options& options) {
  const runtime::Model model = is_synthetic(options)
                                   ? synthetic_model(options)
                                   : runtime::Checkpoint(options.text("checkpoint")).model();
  return {{"model digest", runtime::sha256(model.text()).substr(0, 16)}};
}

WholeModel::WholeModel(Context& context,
                       const std::function<runtime::ModelUse(const runtime::Model&)>& use,
                       Served served)
    : checkpoint(open_checkpoint(context)),
      of(checkpoint ? checkpoint->model() : synthetic_model(context.options)) {
  runtime::TransformerOptions settings;
  runtime::together(context.group(), [&] {
    settings.layer = layer_settings(context.options);
    settings.layer.math = math_of(context.options);
    settings.layer.stored = stored_type(context.options, checkpoint);
    if (served == Served::kNot) return;
    runtime::require_servable(settings.layer);
    runtime::serve_layers(settings.layer);
  });
  settings.placement = context.options.text("placement");
  settings.layer.pack_cache = pack_cache_of(context);
  runtime::ModelUse of_rank;
  runtime::together(context.group(), [&] { of_rank = use(of); });
  of_rank.made_up = !checkpoint;
  runtime::Packing packing;
  if (served == Served::kSpare) {
    settings.spare = true;
  } else {
    packing = settle_packing(context, of, of_rank, settings.layer);
  }
  runtime::together(context.group(), [&] {
    if (served == Served::kNot || !packing.as_needed) return;
    throw std::invalid_argument(
        "--pack: got experts that are packed as needed with --serve, want --pack eager");
  });
  if (context.first() && packing.as_needed) context.reporter.warning(runtime::describe(packing));
  layer = settings.layer;
  const auto start = std::chrono::steady_clock::now();
  if (checkpoint) {
    weights = std::make_unique<runtime::CheckpointWeights>(*checkpoint);
  } else {
    const auto seed = static_cast<std::uint64_t>(context.options.integer("seed"));
    weights = std::make_unique<runtime::SyntheticWeights>(of, seed);
  }
  model = std::make_unique<runtime::TransformerModel>(
      runtime::Transformer(context.group(), *weights, settings));
  if (served == Served::kNot) weights.reset();
  const std::vector<double> mine{
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
      static_cast<double>(model->transformer().weight_bytes())};
  for (const auto& rank : comm::allgather_values<double>(context.group(), std::span(mine))) {
    load_s = std::max(load_s, rank[0]);
    weight_bytes = std::max(weight_bytes, rank[1]);
  }
}

runtime::PackReport WholeModel::packing(Context& context, double steps_s) const {
  const runtime::PackReport report = runtime::report_packing(
      context.group(), model->transformer().packing(), layer.pack_cache.get(), steps_s);
  if (context.first() && report.as_needed > 0) context.reporter.warning(runtime::describe(report));
  return report;
}

runtime::KeptLayers WholeModel::kept() const {
  runtime::KeptLayers kept{.layers = model->transformer().moe_layers(), .origin = {}};
  if (kept.layers.empty()) {
    throw std::invalid_argument("--serve: got a model without experts, want one with some");
  }
  kept.engine = &kept.layers.front()->engine();
  for (const std::int64_t number : of.moe_layers()) {
    kept.origin.sources.emplace_back(weights->block(number));
  }
  kept.origin.spec = kept.layers.front()->spec().expert;
  kept.origin.stored = layer.stored;
  return kept;
}

std::string WholeModel::describe() const {
  return of.name() + ", " + std::to_string(of.num_layers()) +
         (of.num_layers() == 1 ? " layer, " : " layers, ") + std::to_string(of.num_moe_layers()) +
         " of them MoE" + (checkpoint ? "" : ", synthetic weights");
}

runtime::TokenIds ends_of(const WholeModel& whole, const Options& options) {
  if (!whole.checkpoint) return {};
  return runtime::ends_of(options.text("checkpoint"), whole.of);
}

std::optional<runtime::TextRules> tokenizer_of(const Options& options, bool needed) {
  const std::string choice = options.text("tokenizer");
  const bool synthetic = !options.has("checkpoint");
  if (synthetic && choice == "auto") {
    if (!needed) return std::nullopt;
    throw std::invalid_argument(
        "--tokenizer: got auto for a text without a checkpoint, want bytes or FILE");
  }
  const std::filesystem::path folder = synthetic ? "" : options.text("checkpoint");
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

void print_whole(const WholeModel& whole, int ranks, const runtime::PackReport& packing,
                 std::ostream& out) {
  print_row(out, "model", whole.describe());
  print_row(
      out, "ranks",
      std::to_string(ranks) + ", kernels " + std::string(experts::name_of(whole.layer.isa)) +
          ", math " +
          std::string(experts::math_name(whole.layer.isa, whole.layer.math, whole.layer.stored)) +
          ", expert weights " + std::string(experts::name_of(whole.layer.stored)) + " (" +
          fixed(whole.weight_bytes / 1e6, 1) + " MB on the largest rank, loaded in " +
          fixed(whole.load_s, 1) + " s)");
  if (const std::string words = runtime::describe(packing); !words.empty()) {
    print_row(out, "packing", words);
  }
}

nlohmann::ordered_json whole_json(const WholeModel& whole, const runtime::PackReport& packing) {
  nlohmann::ordered_json json{
      {"model", whole.of.name()},
      {"isa", experts::name_of(whole.layer.isa)},
      {"weights", experts::name_of(whole.layer.stored)},
      {"math_name", experts::math_name(whole.layer.isa, whole.layer.math, whole.layer.stored)},
      {"load_s", whole.load_s},
      {"weight_bytes_largest_rank", whole.weight_bytes}};
  put(json, packing);
  return json;
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
