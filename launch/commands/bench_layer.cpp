// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/all.hpp"
#include "launch/commands/bench_report.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/trace_output.hpp"
#include "runtime/bench/layer.hpp"
#include "runtime/layer/inject.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::bench::LayerReport;
using runtime::bench::LayerResult;
using runtime::bench::LayerSettings;

LayerSettings settings_of(const Options& options) {
  LayerSettings settings;
  const runtime::Model model = bench_model(options);
  settings.block = model.block();
  settings.router_bias = model.router_bias();
  settings.selection_bias = model.selection_bias();
  settings.placement = options.text("placement");
  settings.layer = layer_settings(options);
  settings.layer.stored = experts::dtype_from(options.text("weights"));
  settings.layer.math = math_of(options);
  settings.layer.inject = runtime::inject_from(options.text("inject"));
  settings.tokens_per_rank = counts_of(options, "tokens-per-rank");
  settings.routing = options.text("routing");
  settings.seed = static_cast<std::uint64_t>(options.integer("seed"));
  settings.budget = bench_budget(options);
  settings.trace_events = trace_events(options);
  runtime::bench::validate(settings);
  return settings;
}

std::vector<comm::Field> prepare(const Options& options) {
  static_cast<void>(settings_of(options));
  return prepare_bench(options, {"tokens-per-rank"});
}

void print(const LayerReport& report, const Options& options, int ranks, std::ostream& out) {
  out << "# " << bench_model(options).name() << ", weights " << options.text("weights")
      << ", routing " << options.text("routing") << ", " << ranks << " ranks, transport "
      << report.transport << ", " << options.integer("threads-per-rank") << " threads a rank, "
      << figure(1e-6 * static_cast<double>(report.weight_bytes)) << " MB of weights\n"
      << "# ms a layer, slowest rank; exchange: all but expert products; error: of the reference's "
         "rms, at most "
      << report.error_limit << "\n";
  Table table({"tokens/rank", "min ms", "median ms", "p99 ms", "max ms", "tokens/s", "experts ms",
               "exchange ms", "wait ms", "exchange", "weights GB/s", "imbalance", "error",
               "#wrong"});
  for (const LayerResult& r : report.results) {
    table.row({std::to_string(r.tokens_per_rank), figure(r.layer_ms.min), figure(r.layer_ms.median),
               figure(r.layer_ms.p99), figure(r.layer_ms.max), decimal(r.tokens_per_s, 1),
               figure(r.experts_ms.median), figure(r.exchange_ms.median), figure(r.wait_ms.median),
               decimal(100 * r.exchange_share, 2) + " %", figure(r.weights_gb_per_s),
               decimal(r.compute_imbalance, 3), figure(r.error_of_rms), std::to_string(r.wrong)});
  }
  table.print(out);
}

nlohmann::ordered_json to_json(const LayerReport& report) {
  nlohmann::ordered_json json;
  json["transport"] = report.transport;
  json["weight_bytes"] = report.weight_bytes;
  json["error_limit"] = report.error_limit;
  json["results"] = nlohmann::ordered_json::array();
  for (const LayerResult& r : report.results) {
    nlohmann::ordered_json row{{"tokens_per_rank", r.tokens_per_rank},
                               {"repetitions", r.repetitions}};
    put(row, "layer_ms", r.layer_ms);
    put(row, "experts_ms", r.experts_ms);
    put(row, "exchange_ms", r.exchange_ms);
    put(row, "wait_ms", r.wait_ms);
    for (std::size_t p = 0; p < r.phases_ms.size(); ++p) {
      row["phases_ms"][std::string(runtime::kPhaseNames[p])] = r.phases_ms[p];
    }
    row["exchange_share"] = r.exchange_share;
    row["tokens_per_s"] = r.tokens_per_s;
    row["weights_gb_per_s"] = r.weights_gb_per_s;
    row["compute_imbalance"] = r.compute_imbalance;
    row["balancedness"] = r.balancedness;
    row["logical_bytes"] = r.logical_bytes;
    row["wire_bytes"] = r.wire_bytes;
    row["error_of_rms"] = r.error_of_rms;
    row["wrong"] = r.wrong;
    row["output_digest"] = r.output_digest;
    json["results"].push_back(std::move(row));
  }
  return json;
}

int run(Context& context) {
  const LayerSettings settings = settings_of(context.options);
  TraceOutput trace(context);
  const LayerReport report = runtime::bench::bench_layer(context.group(), settings, trace.sink());
  trace.finish(report.trace);
  print(report, context.options, context.group().size(), context.out);
  if (report.trace.events > 0) context.out << "# trace: " << describe(report.trace) << "\n";
  print_machine(report.steadiness, context.out);
  if (context.json.wanted()) {
    nlohmann::ordered_json json = bench_header(context, "bench layer", report.steadiness);
    json["isa"] = experts::name_of(settings.layer.isa);
    json["weights"] = context.options.text("weights");
    json["math"] = context.options.text("math");
    json["threads_per_rank"] = settings.layer.threads;
    json.update(to_json(report));
    put(json, report.trace);
    context.json.write(json);
  }
  std::int64_t wrong = 0;
  for (const LayerResult& r : report.results) wrong += r.wrong;
  return wrong > 0 ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

Command bench_layer_command() {
  auto options = bench_options(2);
  options.push_back(
      text_option("tokens-per-rank", "COUNT,...", "tokens of each rank", "1,8,32,128,512"));
  options.push_back(weights_option());
  options.push_back(math_option());
  options.push_back(text_option("routing", "model|uniform|zipf:S|peers",
                                "who chooses experts; peers: as tests/peers does", "uniform"));
  for (Option& option : layer_options()) options.push_back(std::move(option));
  for (Option& option : trace_options()) options.push_back(std::move(option));
  options.push_back(choice_option("inject", {"none", "kernel", "plan", "combine"},
                                  "spoils one result a rank, to see that it is caught", "none"));
  return {.name = "bench layer",
          .summary = "a whole MoE layer, held against the reference and timed",
          .needs_mpi = true,
          .options = std::move(options),
          .prepare = prepare,
          .run = run};
}
}  // namespace switchyard::launch
