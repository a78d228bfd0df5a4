// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "runtime/page/chart/number.hpp"
#include "runtime/page/read_study.hpp"

namespace switchyard::runtime::page {
namespace {
/// The settings that tell runs apart, as the flags that they came from.
std::string command_of(const Reading& result) {
  const std::string command = result.text("command");
  std::string line = "switchyard " + command;
  if (command == "run") line = "mpirun -n " + result.text("ranks") + " " + line;
  const Reading options = result.object("options");
  for (const char* name : {"model", "layers", "tokens", "steps", "seed", "routing", "transport",
                           "placement", "machine", "threads-per-rank"}) {
    if (!options.has(name)) continue;
    const std::string value = options.text(name);
    if (value == "auto" || (std::string(name) == "threads-per-rank" && value == "1")) continue;
    line += " --" + std::string(name) + " " + value;
  }
  for (const Reading& each : options.list("set")) {
    if (each.json().is_string()) line += " --set " + each.json().get<std::string>();
  }
  return line;
}

Spread step_of(const Reading& result) {
  const double simulated = result.number("simulated_step_s");
  const double real = result.number("seconds") / result.number("steps");
  const double ms = 1e3 * (std::isfinite(simulated) ? simulated : real);
  return {.value = ms, .low = ms, .high = ms};
}

/// Whether two results are of the same settings, as far as both say.
bool alike(const Result& one, const Result& other) {
  const auto same = [](double a, double b) {
    return !std::isfinite(a) || !std::isfinite(b) || a == b;
  };
  const auto words = [](const std::string& a, const std::string& b) {
    return a.empty() || b.empty() || a == b;
  };
  return same(one.ranks, other.ranks) && same(one.tokens, other.tokens) &&
         same(one.layers, other.layers) && words(one.model, other.model) &&
         words(one.routing, other.routing) && words(one.placement, other.placement);
}

void add_pairs(Findings& findings) {
  if (!findings.agreements.empty()) return;
  double sum = 0;
  double worst = 0;
  for (const Result& real : findings.results) {
    if (!is_real(real.kind) || !(real.step_ms.value > 0)) continue;
    for (const Result& simulated : findings.results) {
      if (is_real(simulated.kind) || !alike(real, simulated)) continue;
      if (!std::isfinite(simulated.step_ms.value)) continue;
      const double error = simulated.step_ms.value / real.step_ms.value - 1;
      sum += std::abs(error);
      worst = std::max(worst, std::abs(error));
      findings.agreements.push_back({.real = real.source,
                                     .simulated = simulated.source,
                                     .kind = simulated.kind,
                                     .name = name_of(real, findings.results),
                                     .machine = simulated.machine,
                                     .real_ms = real.step_ms,
                                     .simulated_ms = simulated.step_ms.value,
                                     .error = error,
                                     .beyond_spread = kUnknown});
    }
  }
  const auto pairs = static_cast<double>(findings.agreements.size());
  if (pairs == 0) return;
  findings.agreement_summaries.push_back({.kind = Kind::kSimulated,
                                          .machine = "",
                                          .pairs = pairs,
                                          .mean_error = sum / pairs,
                                          .worst_error = worst,
                                          .mean_beyond = kUnknown});
}
}  // namespace

void add_result(const Reading& reading, const std::string& file, Findings& findings) {
  Result result;
  result.source = file;
  result.command = command_of(reading);
  const std::string engine = reading.text("engine");
  if (!engine.empty()) result.kind = engine == "faithful" ? Kind::kSimulated : Kind::kFast;
  result.machine = reading.text("machine");
  result.model = reading.text("model");
  result.routing = reading.text("routing");
  result.placement = reading.has("placement") ? reading.text("placement")
                                              : reading.object("options").text("placement");
  result.transport = reading.text("transport");
  result.ranks = reading.number("ranks");
  result.layers = reading.number("layers");
  result.tokens = reading.number(reading.has("tokens_per_step") ? "tokens_per_step" : "tokens");
  result.step_ms = step_of(reading);
  result.tokens_per_s = reading.number("tokens_per_s");
  result.phase_means = true;
  for (const Reading& phase : reading.list("phases")) {
    result.phase_means = result.phase_means && phase.has("mean_ms");
  }
  for (const Reading& phase : reading.list("phases")) {
    const double waiting = phase.number("mean_wait_ms");
    result.phases.push_back(
        {.name = phase.text("name"),
         .ms = phase.number(result.phase_means ? "mean_ms" : "slowest_rank_ms"),
         .waiting_ms = result.phase_means && std::isfinite(waiting) ? waiting : 0});
  }
  result.balancedness = reading.number("balancedness");
  result.digest = reading.text("output_digest");
  result.bytes = reading.matrix("bytes_between_ranks");
  findings.results.push_back(std::move(result));
}

void add_comparison(const Reading& compare, Findings& findings) {
  for (const Reading& trial : compare.list("policies")) {
    findings.policies.push_back({.name = trial.text("name"),
                                 .regret = trial.number("regret"),
                                 .hindsight = trial.number("hindsight_regret"),
                                 .balancedness = trial.number("balancedness")});
  }
  findings.policies_command = "switchyard place compare: " + compare.text("origin");
}

void add_sweep_of_results(Findings& findings) {
  add_pairs(findings);
  if (!findings.sweeps.empty()) return;
  Sweep sweep{.name = "ranks", .x = "ranks", .series = {}};
  for (const Kind kind : {Kind::kReal, Kind::kSimulated, Kind::kFast}) {
    Series series{.label = name_of(kind), .kind = kind, .rows = {}, .laws = {}, .no_law = ""};
    for (const Result& result : findings.results) {
      if (result.kind != kind || !std::isfinite(result.ranks)) continue;
      series.rows.push_back({.x = number(result.ranks, 9),
                             .number = result.ranks,
                             .point = result.source,
                             .step_ms = result.step_ms,
                             .p99_ms = kUnknown,
                             .speedup = kUnknown,
                             .efficiency = {}});
    }
    std::ranges::stable_sort(series.rows, {}, &SweepRow::number);
    if (!series.rows.empty()) sweep.series.push_back(std::move(series));
  }
  const auto several = [](const Series& series) {
    return series.rows.front().number != series.rows.back().number;
  };
  if (std::ranges::any_of(sweep.series, several)) findings.sweeps.push_back(std::move(sweep));
}
}  // namespace switchyard::runtime::page
