// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/serve.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <unistd.h>

#include "comm/base/words.hpp"
#include "comm/endure/membership.hpp"
#include "comm/group/mpi_group.hpp"
#include "launch/commands/whole_model.hpp"
#include "launch/progress.hpp"
#include "runtime/faults/injector.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
std::string hex(std::uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

std::string ended(const runtime::ServeEvent& event) {
  std::string words;
  if (!event.lost.empty()) words = comm::rank_names(event.lost) + " lost";
  if (event.joined.empty()) return words;
  return words + (words.empty() ? "" : ", ") + comm::rank_names(event.joined) + " joined";
}

void print(const runtime::RunResult& result, const runtime::ServeReport& report,
           std::ostream& out) {
  print_row(out, "model",
            result.model + ", " + std::to_string(result.layers) +
                (result.layers == 1 ? " MoE layer" : " MoE layers"));
  print_row(out, "router", result.router);
  print_row(out, "ranks",
            std::to_string(result.ranks) + ", transport " + result.transport + ", kernels " +
                result.isa + ", math " + result.math_name + ", weights " + result.weights);
  print_row(out, "tokens",
            std::to_string(result.tokens) + " a step, " + std::to_string(result.steps) +
                (result.steps == 1 ? " step" : " steps") + " in " + fixed(result.seconds, 3) +
                " s, " + fixed(result.tokens_per_s, 0) + " tokens/s");
  print_serving(report, out);
  print_row(out, "output digest", result.output_digest);
}

nlohmann::ordered_json joins_json(const runtime::ServeReport& report) {
  auto joins = nlohmann::ordered_json::array();
  for (const runtime::ServeJoin& join : report.joins) {
    joins.push_back({{"rank", join.rank},
                     {"place_of", join.place},
                     {"after_s", join.after_s},
                     {"load_s", join.load_s}});
  }
  return joins;
}

nlohmann::ordered_json to_json(const runtime::RunResult& result,
                               const runtime::ServeReport& report) {
  return {{"model", result.model},
          {"router", result.router},
          {"transport", result.transport},
          {"isa", result.isa},
          {"weights", result.weights},
          {"math_name", result.math_name},
          {"layers", result.layers},
          {"tokens_per_step", result.tokens},
          {"steps", result.steps},
          {"load_s", result.load_s},
          {"seconds", result.seconds},
          {"tokens_per_s", result.tokens_per_s},
          {"weight_bytes_largest_rank", result.weight_bytes},
          {"routing", result.routing},
          {"non_finite_values", result.non_finite},
          {"serve", serving_json(report)},
          {"output_digest", result.output_digest}};
}
}  // namespace

std::vector<Option> serve_options() {
  const runtime::ServeSettings defaults;
  return {
      flag_option("serve",
                  "goes on in place when ranks die, under mpirun --enable-recovery: their experts "
                  "are replicas', else masked and counted; their tokens are taken over"),
      integer_option("spares", "COUNT",
                     "--serve: so many of the ranks, the last, wait to take a lost one's place", 0,
                     {.least = 0, .most = comm::Membership::kMostSpares}),
      real_option("serve-deadline", "SECONDS",
                  "--serve: a rank without a sign of life for so long is killed, and lost",
                  static_cast<double>(defaults.silence.count()) / 1e3,
                  {.least = 0, .most = 1e6, .above = true}),
      choice_option("serve-reload", {"on", "off"},
                    "--serve: who is left loads experts that were lost once more, unless a spare "
                    "waits",
                    "on"),
  };
}

runtime::ServeSettings serve_settings(const Options& options) {
  runtime::ServeSettings serve;
  serve.spares = static_cast<int>(options.integer("spares"));
  serve.silence = std::chrono::milliseconds(
      static_cast<std::int64_t>(std::ceil(options.real("serve-deadline") * 1e3)));
  serve.reload = options.text("serve-reload") == "on";
  return serve;
}

void say_ready(const Context& context, bool spare) {
  context.reporter.line(std::string("switchyard: ") + (spare ? "spare waits" : "serving") +
                        ", pid " + std::to_string(getpid()));
}

bool outlives_ranks(const Context& context) {
  const char* const told = std::getenv("OMPI_MCA_orte_enable_recovery");
  const bool outlives = told != nullptr && std::string(told) == "1";
  if (!outlives && context.first() && context.group().size() > 1) {
    context.reporter.warning(
        "--serve without mpirun --enable-recovery: the job ends with the first rank that dies");
  }
  return outlives;
}

void print_serving(const runtime::ServeReport& report, std::ostream& out) {
  print_row(out, "serving",
            std::to_string(report.ranks) + " ranks began, " +
                std::to_string(report.members.size()) + " are left (" +
                comm::rank_names(report.members) + "), " + std::to_string(report.spares) +
                " spares; " + std::to_string(report.attempts) + " attempts at a step were void");
  print_row(out, "steps",
            std::to_string(report.steps) + " served, ms: median " +
                fixed(report.step_ms_median, 3) + ", p99 " + fixed(report.step_ms_p99, 3) +
                ", longest " + fixed(report.step_ms_longest, 3));
  for (const runtime::ServeEvent& event : report.events) {
    print_row(out, "step " + std::to_string(event.step),
              ended(event) + "; done again, " + fixed(event.step_ms, 3) + " ms in all");
  }
  for (const runtime::ServeJoin& join : report.joins) {
    print_row(out, "rank " + std::to_string(join.rank),
              "took the place of rank " + std::to_string(join.place) + ", " +
                  fixed(join.after_s, 3) + " s after its loss, " + fixed(join.load_s, 3) +
                  " s of them to load");
  }
  const std::string degraded = describe_degraded(report);
  print_row(out, "degraded", degraded.empty() ? "nothing: every slot had its expert" : degraded);
  if (report.reloaded > 0) {
    print_row(out, "reloaded", comm::counted(report.reloaded, "expert"));
  }
  if (report.dropped_messages > 0) {
    print_row(out, "dropped",
              comm::counted(report.dropped_messages, "message") + " of attempts that were void");
  }
}

nlohmann::ordered_json serving_json(const runtime::ServeReport& report) {
  nlohmann::ordered_json json{{"ranks_began", report.ranks},
                              {"spares", report.spares},
                              {"members", report.members},
                              {"first_step", report.first_step},
                              {"steps", report.steps},
                              {"void_attempts", report.attempts},
                              {"step_ms_median", report.step_ms_median},
                              {"step_ms_p99", report.step_ms_p99},
                              {"step_ms_longest", report.step_ms_longest},
                              {"fenced_ranks", report.fenced},
                              {"reloaded_experts", report.reloaded},
                              {"dropped_messages", report.dropped_messages}};
  json["events"] = nlohmann::ordered_json::array();
  for (const runtime::ServeEvent& event : report.events) {
    json["events"].push_back({{"step", event.step},
                              {"lost", event.lost},
                              {"joined", event.joined},
                              {"step_ms", event.step_ms}});
  }
  json["joins"] = joins_json(report);
  auto& degraded = json["degraded"];
  degraded = {{"steps", report.degraded_steps},
              {"slots", report.degraded_slots},
              {"slots_share", report.slots > 0 ? static_cast<double>(report.degraded_slots) /
                                                     static_cast<double>(report.slots)
                                               : 0.0},
              {"layers", nlohmann::ordered_json::array()}};
  for (const runtime::DegradedLayer& layer : report.layers) {
    auto experts = nlohmann::ordered_json::array();
    for (const auto& [expert, slots] : layer.experts) {
      experts.push_back({{"expert", expert}, {"slots", slots}});
    }
    degraded["layers"].push_back({{"layer", layer.layer},
                                  {"slots", layer.slots},
                                  {"tokens", layer.tokens},
                                  {"experts", std::move(experts)}});
  }
  json["step_fingerprints"] = nlohmann::ordered_json::array();
  for (const std::uint64_t one : report.fingerprints) json["step_fingerprints"].push_back(hex(one));
  return json;
}

bool ServeOutput::json_to_stdout() const {
  return context_.options.has("json") && context_.options.text("json") == "-";
}

std::ostream& ServeOutput::out() {
  if (owns_) return context_.out;
  if (json_to_stdout()) return nowhere_;
  return results_;
}

void ServeOutput::finish(const nlohmann::ordered_json& result) {
  if (owns_) {
    context_.json.write(result);
    context_.out.flush();
    return;
  }
  if (context_.options.has("json")) {
    JsonOutput(context_.options.text("json"), results_, context_.header).write(result);
  }
  results_.finish();
}

int serve_run(Context& context, const runtime::RunSettings& settings) {
  const runtime::ServeSettings serve = serve_settings(context.options);
  context.leaves_alone = outlives_ranks(context);
  Progress progress("switchyard run: step", context.first());
  ServeOutput output(context);
  std::unique_ptr<runtime::WholeFile> file;
  runtime::ServeHooks hooks;
  hooks.progress = [&](std::int64_t done, std::int64_t of) { progress.at(done, of); };
  hooks.loaded = context.let_ranks_end;
  hooks.observer = context.faults;
  const bool spare = context.group().rank() >= context.group().size() - serve.spares;
  hooks.ready = [&] { say_ready(context, spare); };
  hooks.note = [&](const std::string& words) { context.reporter.warning(words); };
  hooks.failed = [&](const std::string& words) { context.reporter.error(words); };
  if (context.options.has("output")) {
    hooks.output_begin = [&] {
      file = std::make_unique<runtime::WholeFile>("--output", context.options.text("output"));
    };
    hooks.output = [&](std::span<const std::byte> rows) { file->write(rows); };
  }
  hooks.finish = [&](const runtime::RunResult& result, const runtime::ServeReport& report) {
    progress.clear();
    if (file) file->commit();
    print(result, report, output.out());
    output.finish(to_json(result, report));
    return runtime::kDone;
  };
  return unless_taken_for_lost(
      context, [&] { return runtime::serve_run(context.group(), settings, serve, hooks); });
}

int unless_taken_for_lost(Context& context, const std::function<int()>& serve) {
  try {
    return serve();
  } catch (const comm::TakenForLost& error) {
    context.reporter.error(error.what());
    comm::Environment::leave(runtime::kTemporary);
  }
}
}  // namespace switchyard::launch
