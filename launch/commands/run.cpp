// SPDX-License-Identifier: Apache-2.0
#include "runtime/run/run.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "comm/group/collective.hpp"
#include "comm/group/mpi_group.hpp"
#include "experts/kernels/dispatch.hpp"
#include "launch/commands/all.hpp"
#include "launch/commands/pack_options.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/commands/run_report.hpp"
#include "launch/commands/serve.hpp"
#include "launch/progress.hpp"
#include "launch/stop_signal.hpp"
#include "launch/trace_output.hpp"
#include "runtime/faults/injector.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/status.hpp"
#include "runtime/trace/reader.hpp"

namespace switchyard::launch {
namespace {
std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// 1536000 as "1.536 MB"; units of a thousand.
std::string bytes(double count) {
  const char* unit = "B";
  for (const char* next : {"kB", "MB", "GB", "TB"}) {
    if (count < 1000) break;
    count /= 1000;
    unit = next;
  }
  return fixed(count, count < 10 ? 3 : count < 100 ? 2 : 1) + " " + unit;
}

using PrintRow = std::function<void(std::string, const std::string&)>;

void print_rebalance(const runtime::RebalanceReport& report, const PrintRow& row) {
  const auto changes = static_cast<double>(std::max<std::int64_t>(report.moved, 1));
  row("rebalancing", report.policy + ", " + std::to_string(report.slots) +
                         " slots a rank: " + std::to_string(report.moved) +
                         " plans moved experts, " + std::to_string(report.refused) + " refused, " +
                         std::to_string(report.kept) + " the same; placement epoch " +
                         std::to_string(report.epoch));
  row("migration", std::to_string(report.copies) + " copies, " + bytes(report.bytes) +
                       "; steps stood still for " + fixed(report.stall_s * 1e3 / changes, 3) +
                       " ms a plan (longest " + fixed(report.longest_stall_s * 1e3, 3) +
                       ", the switch itself " + fixed(report.longest_switch_s * 1e3, 3) + ")");
  row("balance", "busiest rank " + fixed(report.busiest_rows_before, 0) +
                     " rows a step, balancedness " + fixed(report.balancedness_before, 3) +
                     " before; " + fixed(report.busiest_rows_after, 0) + ", " +
                     fixed(report.balancedness_after, 3) + " in the last steps");
}

nlohmann::ordered_json rebalance_json(const runtime::RebalanceReport& report) {
  nlohmann::ordered_json json{{"policy", report.policy},
                              {"slots", report.slots},
                              {"looks", report.looks},
                              {"rebalances", report.moved},
                              {"refused", report.refused},
                              {"unchanged", report.kept},
                              {"placement_epoch", report.epoch},
                              {"copies_moved", report.copies},
                              {"migration_bytes", report.bytes},
                              {"stall_ms", report.stall_s * 1e3},
                              {"longest_stall_ms", report.longest_stall_s * 1e3},
                              {"longest_switch_ms", report.longest_switch_s * 1e3},
                              {"plan_ms", report.plan_s * 1e3},
                              {"balancedness_before", report.balancedness_before},
                              {"balancedness_after", report.balancedness_after},
                              {"busiest_rows_before", report.busiest_rows_before},
                              {"busiest_rows_after", report.busiest_rows_after}};
  json["plans"] = nlohmann::ordered_json::array();
  for (const auto& event : report.events) {
    nlohmann::ordered_json plan{{"step", event.step},
                                {"moved", event.moved},
                                {"verdict", event.words},
                                {"copies", event.copies},
                                {"balancedness_of_window", event.balancedness_then},
                                {"balancedness_of_plan", event.balancedness_plan}};
    if (event.switched >= 0) plan["switched_at_step"] = event.switched;
    json["plans"].push_back(std::move(plan));
  }
  return json;
}
}  // namespace

void print_run(const runtime::RunResult& result, std::ostream& out) {
  const auto row = [&out](std::string name, const std::string& value) {
    name.resize(16, ' ');
    out << name << value << '\n';
  };
  const auto count = [](double value) { return fixed(value, 0); };
  row("model", result.model + ", " + std::to_string(result.layers) +
                   (result.layers == 1 ? " MoE layer" : " MoE layers"));
  row("router",
      result.router +
          (result.routing == "model" ? "" : "; experts chosen by --routing " + result.routing));
  row("ranks", std::to_string(result.ranks) + ", transport " + result.transport + ", kernels " +
                   result.isa + ", math " + result.math_name + ", weights " + result.weights +
                   " (" + bytes(result.weight_bytes) + " on the largest rank, loaded in " +
                   fixed(result.load_s, 1) + " s)");
  if (!result.exchange.empty()) row("exchange", result.exchange);
  row("tokens", std::to_string(result.tokens) + " a step, " + std::to_string(result.steps) +
                    (result.steps == 1 ? " step" : " steps") + " in " + fixed(result.seconds, 3) +
                    " s");
  row("tokens/s", count(result.tokens_per_s));
  out << "\nms a step              slowest rank                 mean of ranks\n"
         "phase              all   working   waiting       all   working   waiting\n";
  for (const auto& phase : result.phases) {
    char line[128];
    std::snprintf(line, sizeof line, "  %-10s %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f\n",
                  phase.name.c_str(), phase.slowest_rank_ms, phase.slowest_rank_work_ms,
                  phase.slowest_rank_wait_ms, phase.mean_ms, phase.mean_work_ms,
                  phase.mean_wait_ms);
    out << line;
  }
  out << '\n';
  row("rows a rank", "min " + count(result.rows_min) + ", mean " + count(result.rows_mean) +
                         ", max " + count(result.rows_max) + " computed a step; balancedness " +
                         fixed(result.balancedness, 3));
  row("compute", "imbalance " + fixed(result.compute_imbalance, 3) +
                     ": largest over mean processor time in experts' tasks; node queue " +
                     (result.node_queue ? "on" : "off"));
  row("slots", count(result.slots) + " routed a step, " + count(result.dropped) + " dropped, " +
                   count(result.identity) + " identity");
  row("logical bytes", bytes(result.logical_bytes) +
                           " a step: every (token, slot) row out and back, own rank included");
  row("wire bytes", bytes(result.wire_bytes) + " a step: what left a rank for another, " +
                        count(result.rows_out) + " rows out after deduplication" +
                        (result.gathers ? "; without the gather of the batch rule" : ""));
  if (const std::string packing = describe(result.packing); !packing.empty()) {
    row("packing", packing);
  }
  if (result.trace.events > 0) {
    row("trace", describe(result.trace));
  }
  if (result.recorded_bytes > 0) {
    row("recorded", std::to_string(result.steps) + " steps of routing, " +
                        bytes(static_cast<double>(result.recorded_bytes)));
  }
  if (result.stateful) {
    row("state", "weights changed in " + fixed(result.state_ms, 3) + " ms a step");
  }
  if (result.saving) {
    const runtime::SaveReport& saving = *result.saving;
    const auto beside = static_cast<double>(std::max<std::int64_t>(saving.beside, 1));
    row("saving", std::to_string(saving.saved) + " saves of " + bytes(saving.bytes) + ", " +
                      std::to_string(saving.failed) + " failed, " + std::to_string(saving.skipped) +
                      " left out; steps stood still for " +
                      fixed(saving.stall_s * 1e3 / beside, 3) + " ms a save (longest " +
                      fixed(saving.longest_stall_s * 1e3, 3) + "), the last took " +
                      fixed(saving.last_s, 3) + " s");
  }
  if (result.rebalance) print_rebalance(*result.rebalance, row);
  row("output digest",
      result.output_digest +
          (result.math_name == "float32" ? "" : "  (math " + result.math_name + ")") +
          (result.invariance.empty() ? ""
                                     : "  (depends on the rank count: " + result.invariance + ")"));
  if (result.stateful) row("state digest", result.state_digest);
}

namespace {
/// One line for whoever asked the run to leave.
std::string describe_stop(const runtime::RunResult& result, const runtime::RunSettings& settings) {
  const std::string after = "run: asked to leave by a signal, left after step " +
                            std::to_string(result.first_step + result.steps) + " of " +
                            std::to_string(settings.steps);
  if (settings.save.to.empty()) return after + "; nothing is saved without --save-to";
  if (result.saving && !result.saving->last_problem.empty()) {
    return after + "; " + result.saving->last_problem;
  }
  return after + ", saved in " + settings.save.to + ": the same command goes on from there";
}
}  // namespace

nlohmann::ordered_json run_json(const runtime::RunResult& result) {
  nlohmann::ordered_json json;
  json["model"] = result.model;
  json["router"] = result.router;
  json["transport"] = result.transport;
  json["exchange"] = result.exchange;
  json["wire"] = result.wire;
  json["isa"] = result.isa;
  json["weights"] = result.weights;
  json["math"] = result.math;
  json["math_name"] = result.math_name;
  json["layers"] = result.layers;
  json["idle_ranks"] = result.idle_ranks;
  json["tokens_per_step"] = result.tokens;
  json["first_step"] = result.first_step;
  json["steps"] = result.steps;
  json["load_s"] = result.load_s;
  json["seconds"] = result.seconds;
  if (!result.step_s.empty()) json["step_s"] = result.step_s;
  json["tokens_per_s"] = result.tokens_per_s;
  json["phases"] = nlohmann::ordered_json::array();
  for (const auto& phase : result.phases) {
    json["phases"].push_back({{"name", phase.name},
                              {"slowest_rank_ms", phase.slowest_rank_ms},
                              {"mean_ms", phase.mean_ms},
                              {"slowest_rank_work_ms", phase.slowest_rank_work_ms},
                              {"mean_work_ms", phase.mean_work_ms},
                              {"slowest_rank_wait_ms", phase.slowest_rank_wait_ms},
                              {"mean_wait_ms", phase.mean_wait_ms}});
  }
  json["rows_per_rank"] = {
      {"min", result.rows_min}, {"mean", result.rows_mean}, {"max", result.rows_max}};
  json["balancedness"] = result.balancedness;
  json["compute_imbalance"] = result.compute_imbalance;
  json["node_queue"] = result.node_queue;
  json["slots_per_step"] = result.slots;
  json["dropped_per_step"] = result.dropped;
  json["identity_per_step"] = result.identity;
  json["rows_out_per_step"] = result.rows_out;
  json["logical_bytes"] = result.logical_bytes;
  json["wire_bytes"] = result.wire_bytes;
  json["weight_bytes_largest_rank"] = result.weight_bytes;
  json["routing"] = result.routing;
  json["non_finite_values"] = result.non_finite;
  put(json, result.packing);
  put(json, result.trace);
  if (result.recorded_bytes > 0) json["recorded_bytes"] = result.recorded_bytes;
  if (result.stateful) {
    json["state_ms_per_step"] = result.state_ms;
    json["state_digest"] = result.state_digest;
  }
  if (result.saving) {
    const runtime::SaveReport& saving = *result.saving;
    const auto saves = static_cast<double>(std::max<std::int64_t>(saving.saved, 1));
    const auto beside = static_cast<double>(std::max<std::int64_t>(saving.beside, 1));
    json["saving"] = {{"saved", saving.saved},
                      {"failed", saving.failed},
                      {"skipped", saving.skipped},
                      {"bytes", saving.bytes},
                      {"save_ms", saving.write_s * 1e3 / saves},
                      {"begun_between_steps", saving.beside},
                      {"save_stall_ms", saving.stall_s * 1e3 / beside},
                      {"longest_save_stall_ms", saving.longest_stall_s * 1e3},
                      {"last_save_s", saving.last_s}};
  }
  if (result.rebalance) json["rebalancing"] = rebalance_json(*result.rebalance);
  json["output_digest"] = result.output_digest;
  json["depends_on_rank_count"] = result.invariance;
  return json;
}

namespace {
/// Ranks that are served on have other shares of the tokens from step to step.
void require_no_serving(const Options& options, const runtime::RunSettings& settings) {
  if (!options.flag("serve")) return;
  const bool records = !settings.record.to.empty();
  if (!records && runtime::routing_trace(settings.routing).empty()) return;
  throw std::invalid_argument(std::string("--serve: got it with ") +
                              (records ? "--record-trace" : "--routing trace:FILE") +
                              ", want one of them");
}

std::vector<comm::Field> prepare(const Options& options) {
  const auto settings = run_settings(options);
  require_no_serving(options, settings);
  const auto model = runtime::model_of(settings);
  runtime::validate(settings, model);
  const auto native = [&](experts::DType stored) {
    return std::string(experts::math_name(settings.layer.isa, settings.layer.math, stored));
  };
  std::vector<comm::Field> fields{{"model digest", runtime::sha256(model.text()).substr(0, 16)},
                                  {"math of bfloat16", native(experts::DType::kBfloat16)},
                                  {"math of int8", native(experts::DType::kInt8)}};
  if (const std::string trace = runtime::routing_trace(settings.routing); !trace.empty()) {
    fields.push_back({"routing trace", std::to_string(runtime::TraceReader(trace).content())});
  }
  return fields;
}

/// [from, to], in messages of exchanges, all steps together; nothing where ranks are many.
/// Collective.
std::vector<std::vector<std::int64_t>> bytes_between_ranks(comm::Group& group) {
  constexpr int kMost = 64;
  const auto* const mpi = dynamic_cast<const comm::MpiGroup*>(&group);
  if (mpi == nullptr || group.size() > kMost) return {};
  return comm::allgather_values<std::int64_t>(group, mpi->bytes_sent());
}

int run(Context& context) {
  const StopSignal signal;
  runtime::RunSettings settings = run_settings(context.options);
  settings.pack = runtime::pack_mode_from(context.options.text("pack"));
  settings.memory_bytes = memory_of(context.options);
  settings.layer.pack_cache = pack_cache_of(context);
  if (context.options.flag("serve")) return serve_run(context, settings);
  std::unique_ptr<runtime::WholeFile> file;
  runtime::together(context.group(), [&] {
    if (context.first() && context.options.has("output")) {
      file = std::make_unique<runtime::WholeFile>("--output", context.options.text("output"));
    }
  });
  TraceOutput trace(context);
  Progress progress("switchyard run: step", context.first());
  runtime::RunHooks hooks;
  hooks.stop = [&] { return signal.came(); };
  hooks.progress = [&](std::int64_t done, std::int64_t of) { progress.at(done, of); };
  if (context.first()) {
    hooks.warn = [&](const std::string& text) { context.reporter.warning(text); };
  }
  hooks.trace = trace.sink();
  if (context.faults != nullptr) {
    hooks.fails = [&](std::string_view call) { return context.faults->fails(call); };
  }
  if (file) hooks.output = [&](std::span<const std::byte> rows) { file->write(rows); };
  const runtime::RunResult result = runtime::run(context.group(), settings, hooks);
  progress.clear();
  if (result.stopped) {
    if (context.first()) context.reporter.error(describe_stop(result, settings));
    return runtime::kTemporary;
  }
  runtime::together(context.group(), [&] {
    if (file) file->commit();
  });
  trace.finish(result.trace);
  print_run(result, context.out);
  const auto sent = bytes_between_ranks(context.group());
  if (context.json.wanted()) {
    auto json = run_json(result);
    if (!sent.empty()) json["bytes_between_ranks"] = sent;
    context.json.write(json);
  }
  if (result.saving && !result.saving->last_problem.empty()) {
    if (context.first()) context.reporter.error(result.saving->last_problem);
    return runtime::kIo;
  }
  return runtime::kDone;
}

std::vector<comm::Field> prepare_record(const Options& options) {
  if (!options.has("record-trace")) {
    throw std::invalid_argument("--record-trace: got none, want the file to write");
  }
  return prepare(options);
}
}  // namespace

Command trace_record_command() {
  Command command = run_command();
  command.name = "trace record";
  command.summary = "run --record-trace: where every token of a run goes, to a file";
  command.prepare = prepare_record;
  return command;
}

Command run_command() {
  return {.name = "run",
          .summary = "MoE layers over a stream of tokens: throughput, phases, balance, digest",
          .needs_mpi = true,
          .options = run_options(),
          .faults = true,
          .prepare = prepare,
          .run = run};
}
}  // namespace switchyard::launch
