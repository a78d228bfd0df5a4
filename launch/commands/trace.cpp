// SPDX-License-Identifier: Apache-2.0
// trace synth, import, info: routing traces from workloads and other programs, and what is in one.
#include <numeric>

#include "launch/commands/all.hpp"
#include "launch/progress.hpp"
#include "runtime/model/model.hpp"
#include "runtime/status.hpp"
#include "runtime/text_proto.hpp"
#include "runtime/trace/import.hpp"
#include "runtime/trace/summary.hpp"
#include "runtime/trace/workload.hpp"
#include "runtime/trace/writer.hpp"

namespace switchyard::launch {
namespace {
using Json = nlohmann::ordered_json;
constexpr std::int64_t kMost = std::int64_t{1} << 31;

std::string output_of(const Options& options) {
  if (options.has("output")) return options.text("output");
  throw std::invalid_argument("--output: got none, want the trace to write");
}

std::string counted(std::int64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

/// What was written, or is there: one line, and the same as JSON.
Json describe_trace(const runtime::TraceReader& trace, std::ostream& out) {
  const runtime::TraceInfo& info = trace.info();
  std::int64_t tokens = 0;
  for (std::int64_t step = 0; step < trace.steps(); ++step) tokens += trace.tokens(step, 0);
  out << "trace           " << trace.file() << ": " << counted(trace.steps(), "step") << ", "
      << counted(info.layers, "layer") << ", top-" << info.top_k << " of "
      << counted(info.experts, "expert") << ", " << runtime::name_of(info.detail)
      << "\ntokens          " << tokens << " in layer 0\nbytes           " << trace.file_bytes()
      << ", " << trace.payload_bytes() << " inflated\n";
  if (!info.model.empty()) out << "model           " << info.model << '\n';
  if (!info.provenance.empty()) out << "provenance      " << info.provenance << '\n';
  return {{"file", trace.file()},
          {"steps", trace.steps()},
          {"layers", info.layers},
          {"experts", info.experts},
          {"top_k", info.top_k},
          {"detail", runtime::name_of(info.detail)},
          {"layer_numbers", info.layer_numbers},
          {"tokens", tokens},
          {"file_bytes", trace.file_bytes()},
          {"payload_bytes", trace.payload_bytes()},
          {"content_crc32c", trace.content()},
          {"model", info.model},
          {"provenance", info.provenance}};
}

int show_written(Context& context) {
  const runtime::TraceReader trace(output_of(context.options));
  const Json json = describe_trace(trace, context.out);
  if (context.json.wanted()) context.json.write(json);
  return runtime::kDone;
}

/// The shape that was asked for: a model's, the table's, or number by number.
runtime::TraceInfo shape_of(const Options& options, const runtime::Workload& workload) {
  runtime::TraceInfo info;
  info.layers = 1;
  if (options.has("model")) {
    runtime::Model model = runtime::Model::from_name_or_file(options.text("model"));
    for (const std::string& assignment : options.list("set")) model.set(assignment);
    model.validate();
    const auto router = model.block().router;
    info.experts = router.all_experts();
    info.top_k = router.top_k;
    info.layer_numbers = model.moe_layers();
    info.layers = std::ssize(info.layer_numbers);
    info.model = model.name();
  } else if (workload.table) {
    info.experts = workload.table->experts;
    info.layers = workload.table->layers;
    info.top_k = runtime::top_k_of(*workload.table);
  }
  if (options.has("experts")) info.experts = options.integer("experts");
  if (options.has("top-k")) info.top_k = options.integer("top-k");
  if (options.has("layers")) info.layers = options.integer("layers");
  if (!info.layer_numbers.empty() && info.layers <= std::ssize(info.layer_numbers)) {
    info.layer_numbers.resize(static_cast<std::size_t>(info.layers));
  } else {
    info.layer_numbers.clear();
  }
  if (info.experts == 0 || info.top_k == 0) {
    throw std::invalid_argument(
        "trace synth: got no shape, want --model, or --experts and --top-k");
  }
  return info;
}

runtime::Workload workload_of(const Options& options) {
  if (!options.has("workload")) {
    throw std::invalid_argument("--workload: got none, want one of " + runtime::workload_forms());
  }
  runtime::Workload workload = runtime::workload_from(options.text("workload"));
  workload.domain_steps = options.integer("domain-steps");
  const auto& names = options.list("domain");
  if (names.empty()) return workload;
  if (!workload.table) {
    throw std::invalid_argument("--domain: got it with --workload " + workload.name +
                                ", want load:FILE");
  }
  workload.domains.clear();
  for (const std::string& name : names) {
    const auto found = runtime::find_domain(*workload.table, name);
    workload.domains.insert(workload.domains.end(), found.begin(), found.end());
  }
  return workload;
}

int synth(Context& context) {
  const Options& options = context.options;
  const std::string output = output_of(options);
  const runtime::Workload workload = workload_of(options);
  runtime::TraceInfo info = shape_of(options, workload);
  if (options.flag("counts"))
    info.detail = runtime::TraceDetail::kCounts;
  else
    info.detail = runtime::TraceDetail::kExperts;
  const auto seed = static_cast<std::uint64_t>(options.integer("seed"));
  info.provenance = "made by switchyard trace synth: workload " + workload.name + ", seed " +
                    std::to_string(seed);
  if (workload.table) info.provenance += "; weighted draws without replacement, no co-activation";
  runtime::validate(workload, info);
  runtime::TraceWriter writer("--output", output, info);
  const std::int64_t steps = options.integer("steps");
  Progress progress("switchyard trace synth: step", context.first());
  for (std::int64_t step = 0; step < steps; ++step) {
    progress.at(step, steps);
    const std::int64_t tokens =
        runtime::workload_tokens(workload, seed, step, options.integer("tokens"));
    for (std::int64_t layer = 0; layer < info.layers; ++layer) {
      writer.add(step, runtime::make_layer(workload, info, seed, step, layer, tokens));
    }
  }
  writer.finish();
  progress.clear();
  return show_written(context);
}

int import(Context& context) {
  const Options& options = context.options;
  const std::string output = output_of(options);
  const auto& files = options.positionals();
  runtime::ImportSettings settings;
  if (options.has("experts")) settings.experts = options.integer("experts");
  if (options.has("top-k")) settings.top_k = options.integer("top-k");
  if (options.has("model")) settings.model = options.text("model");
  const std::string from = options.text("from");
  if (from == "megatron") {
    if (settings.top_k != 0) {
      throw std::invalid_argument("--top-k: got it with --from megatron, whose lines say it");
    }
    runtime::import_megatron(files, settings, output);
    return show_written(context);
  }
  if (files.size() != 1 || settings.experts != 0) {
    throw std::invalid_argument(
        files.size() != 1 ? "trace import: got " + std::to_string(files.size()) + " files --from " +
                                from + ", want one"
                          : "--experts: got it with --from " + from + ", whose files say it");
  }
  if (from == "sglang") {
    runtime::write_routing_trace(
        output, runtime::import_sglang(runtime::read_text(files[0]), files[0], settings));
    return show_written(context);
  }
  const runtime::LoadTable table = runtime::read_load_table(files[0]);
  runtime::RoutingTrace trace =
      runtime::trace_of(table, settings.top_k > 0 ? settings.top_k : runtime::top_k_of(table));
  trace.info.model = settings.model;
  trace.info.provenance =
      "imported from a load table, a step a domain; means times tokens, rounded";
  runtime::write_routing_trace(output, trace);
  return show_written(context);
}

void print_layers(const runtime::TraceReader& trace, const runtime::RoutingSummary& summary,
                  Json& json, std::ostream& out) {
  const auto& numbers = trace.info().layer_numbers;
  out << "\nlayer     tokens      slots      empty  imbalance  busiest (slots)       unused "
         "experts\n";
  Json layers = Json::array();
  for (std::size_t i = 0; i < summary.layers.size(); ++i) {
    const runtime::TraceLayerSummary& layer = summary.layers[i];
    const auto number = numbers.empty() ? static_cast<std::int64_t>(i) : numbers[i];
    char line[160];
    std::snprintf(
        line, sizeof line, "%5lld %10lld %10lld %10lld %10.3f %8lld (%lld) %*lld of %lld\n",
        static_cast<long long>(number), static_cast<long long>(layer.tokens),
        static_cast<long long>(layer.slots), static_cast<long long>(layer.empty), layer.imbalance,
        static_cast<long long>(layer.busiest), static_cast<long long>(layer.most), 8,
        static_cast<long long>(layer.unused), static_cast<long long>(trace.info().experts));
    out << line;
    layers.push_back({{"layer", number},
                      {"tokens", layer.tokens},
                      {"slots", layer.slots},
                      {"empty_slots", layer.empty},
                      {"imbalance", layer.imbalance},
                      {"busiest", layer.busiest},
                      {"busiest_slots", layer.most},
                      {"unused_experts", layer.unused},
                      {"load", summary.load[i]}});
  }
  out << "imbalance: slots of the busiest expert over those of the mean one\n\n"
      << runtime::heat_map(summary.load, numbers, 64);
  json["per_layer"] = std::move(layers);
}

void print_drift(const runtime::TraceReader& trace, const runtime::RoutingSummary& summary,
                 Json& json, std::ostream& out) {
  const auto& numbers = trace.info().layer_numbers;
  const auto number = [&](std::int64_t layer) {
    return numbers.empty() ? layer : numbers[static_cast<std::size_t>(layer)];
  };
  Json drifts = Json::array();
  if (!summary.drifts.empty()) {
    out << "\ndrift from one window of " << counted(summary.window, "step")
        << " to the next: share of the load that moved to other experts\n";
  }
  for (const runtime::TraceDrift& drift : summary.drifts) {
    char line[128];
    std::snprintf(line, sizeof line, "  from step %-8lld mean %.3f  most %.3f in layer %lld\n",
                  static_cast<long long>(drift.first_step), drift.mean, drift.most,
                  static_cast<long long>(number(drift.layer)));
    out << line;
    drifts.push_back({{"first_step", drift.first_step},
                      {"mean", drift.mean},
                      {"most", drift.most},
                      {"layer_of_most", number(drift.layer)}});
  }
  json["window_steps"] = summary.window;
  json["drift"] = std::move(drifts);
  Json pairs = Json::array();
  if (!summary.pairs.empty()) out << "\nexperts that tokens choose together\n";
  for (const runtime::TracePair& pair : summary.pairs) {
    char line[160];
    std::snprintf(line, sizeof line,
                  "  layer %lld: %lld and %lld, by %lld tokens, %.2f times what chance gives\n",
                  static_cast<long long>(number(pair.layer)), static_cast<long long>(pair.one),
                  static_cast<long long>(pair.other), static_cast<long long>(pair.tokens),
                  pair.lift);
    out << line;
    pairs.push_back({{"layer", number(pair.layer)},
                     {"experts", {pair.one, pair.other}},
                     {"tokens", pair.tokens},
                     {"lift", pair.lift}});
  }
  if (!summary.pairs_known) out << "\nco-activation: not known, the trace has counts only\n";
  json["pairs"] = summary.pairs_known ? std::move(pairs) : Json();
}

int info(Context& context) {
  runtime::TraceReader trace(context.options.positionals().front());
  Json json = describe_trace(trace, context.out);
  const auto summary = runtime::summarise(trace, context.options.integer("window"),
                                          context.options.integer("pairs"));
  print_layers(trace, summary, json, context.out);
  print_drift(trace, summary, json, context.out);
  if (context.json.wanted()) context.json.write(json);
  return runtime::kDone;
}
}  // namespace

Command trace_synth_command() {
  return {
      .name = "trace synth",
      .summary = "a routing trace of a workload that anyone can make again",
      .options = {text_option("workload", "FORM", runtime::workload_forms()),
                  text_option("model", "NAME|FILE", "whose experts, slots and MoE layers"),
                  list_option("set", "FIELD=VALUE", "changes one field of the model"),
                  integer_option("layers", "COUNT", "without: the model's or the table's, else 1",
                                 std::nullopt, {.least = 1, .most = runtime::kMostTraceLayers}),
                  integer_option("experts", "COUNT", "of a layer", std::nullopt,
                                 {.least = 1, .most = runtime::kMostTraceExperts}),
                  integer_option("top-k", "COUNT", "slots of a token", std::nullopt,
                                 {.least = 1, .most = runtime::kMostTraceExperts}),
                  integer_option("tokens", "COUNT", "a step, all ranks together", 1024,
                                 {.least = 0, .most = kMost}),
                  integer_option("steps", "COUNT", "to make", 16, {.least = 1}),
                  integer_option("seed", "NUMBER", "of all draws", 1, {.least = 0}),
                  list_option("domain", "NAME",
                              "of a load table, to be taken in turn; without: all of them"),
                  integer_option("domain-steps", "COUNT", "of a domain before the next one's", 1,
                                 {.least = 1}),
                  flag_option("counts", "keeps how often experts were chosen, not by which token"),
                  output_option("output", "FILE", "the trace")},
      .run = synth};
}

Command trace_import_command() {
  return {
      .name = "trace import",
      .summary = "a routing trace from files of Megatron, SGLang or a load table",
      .options = {choice_option("from", {"megatron", "sglang", "load"},
                                "what wrote the files: Megatron's JSON lines (one a rank), an "
                                "expert distribution of SGLang in JSON, a CSV of mean loads",
                                "megatron"),
                  integer_option("experts", "COUNT",
                                 "of a layer; without: the highest that was chosen, and one",
                                 std::nullopt, {.least = 1, .most = runtime::kMostTraceExperts}),
                  integer_option("top-k", "COUNT", "slots of a token, where files have none",
                                 std::nullopt, {.least = 1, .most = runtime::kMostTraceExperts}),
                  text_option("model", "NAME", "whose routing it is, for the trace to say"),
                  output_option("output", "FILE", "the trace")},
      .positionals = {.unit = "FILE", .help = "files to import", .least = 1, .most = 65536},
      .run = import};
}

Command trace_info_command() {
  return {.name = "trace info",
          .summary = "shape, loads, drift and co-activation of a routing trace",
          .options = {integer_option("window", "STEPS",
                                     "that drift is shown between; 0: a quarter of the trace", 0,
                                     {.least = 0}),
                      integer_option("pairs", "COUNT", "of experts to show", 5,
                                     {.least = 0, .most = 10000})},
          .positionals = {.unit = "FILE", .help = "a routing trace", .least = 1, .most = 1},
          .run = info};
}
}  // namespace switchyard::launch
