// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/read_study.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "runtime/page/chart/number.hpp"

namespace switchyard::runtime::page {
namespace {
Kind kind_of(const Reading& reading) {
  const std::string kind = reading.text("kind");
  if (kind == "real") return Kind::kReal;
  if (kind == "simulated") return Kind::kSimulated;
  if (kind == "fast") return Kind::kFast;
  throw std::invalid_argument(reading.where() + ".kind: got '" + kind +
                              "', want real, simulated or fast");
}

Result point_of(const Reading& point, const std::string& command) {
  Result result;
  result.id = point.text("id");
  result.kind = kind_of(point);
  result.command = command;
  result.machine = point.text("machine");
  result.model = point.text("model");
  result.routing = point.text("routing");
  result.placement = point.text("placement");
  result.transport = point.text("transport");
  result.status = point.text("status");
  result.ranks = point.number("ranks");
  result.experts = point.number("experts");
  result.top_k = point.number("top_k");
  result.layers = point.number("layers");
  result.tokens = point.number("tokens");
  const Reading step = point.object("step_ms");
  result.step_ms = {step.number("median"), step.number("low"), step.number("high")};
  result.tokens_per_s = point.number("tokens_per_s");
  result.phase_means = true;
  for (const Reading& phase : point.list("phases")) {
    result.phase_means = result.phase_means && phase.has("mean_ms");
  }
  for (const Reading& phase : point.list("phases")) {
    result.phases.push_back(
        {.name = phase.text("name"),
         .ms = phase.number(result.phase_means ? "mean_ms" : "slowest_rank_ms")});
  }
  result.balancedness = point.number("balancedness");
  result.digest = point.text("output_digest");
  result.bytes = point.matrix("bytes_between_ranks");
  result.balancedness_by_step = point.numbers("balancedness_by_step");
  result.rows = point.matrix("rows_by_rank");
  const double load = point.number("load");
  result.load = std::isfinite(load) && load >= 0 ? static_cast<std::int64_t>(load) : -1;
  return result;
}

SweepRow row_of(const Reading& row) {
  SweepRow result;
  result.x = row.text("x");
  if (row.json().contains("x") && row.json()["x"].is_number()) result.number = row.number("x");
  result.point = row.text("point");
  result.step_ms = {row.number("step_ms"), row.number("low_ms"), row.number("high_ms")};
  result.p99_ms = row.number("p99_ms");
  result.speedup = row.number("speedup");
  result.efficiency = {row.number("efficiency"), row.number("efficiency_low"),
                       row.number("efficiency_high")};
  return result;
}

Series series_of(const Reading& series) {
  Series result;
  result.label = series.text("label");
  result.kind = kind_of(series);
  for (const Reading& row : series.list("rows")) result.rows.push_back(row_of(row));
  for (const Reading& law : series.list("laws")) {
    if (!law.flag("best")) continue;
    Law fitted{.name = law.text("name"),
               .formula = law.text("formula"),
               .residual = law.number("residual"),
               .curve = {}};
    const Matrix2 curve = law.matrix("curve");
    for (std::int64_t i = 0; i < curve.rows && curve.columns == 2; ++i) {
      const auto at = static_cast<std::size_t>(2 * i);
      fitted.curve.emplace_back(curve.values[at], curve.values[at + 1]);
    }
    result.laws.push_back(std::move(fitted));
  }
  result.no_law = series.text("no_law");
  return result;
}

void add_agreements(const Reading& study, Findings& findings) {
  for (const Reading& pair : study.list("comparisons")) {
    Agreement agreement{.real = pair.text("real"),
                        .simulated = pair.text("simulated"),
                        .kind = kind_of(pair),
                        .name = "",
                        .machine = pair.text("machine"),
                        .real_ms = {.value = pair.number("real_ms")},
                        .simulated_ms = pair.number("simulated_ms"),
                        .error = pair.number("error"),
                        .beyond_spread = pair.number("beyond_spread")};
    const auto real = std::ranges::find(findings.results, agreement.real, &Result::id);
    agreement.name = agreement.real;
    if (real != findings.results.end()) {
      agreement.name = name_of(*real, findings.results);
      agreement.real_ms.low = real->step_ms.low;
      agreement.real_ms.high = real->step_ms.high;
    }
    findings.agreements.push_back(std::move(agreement));
  }
  for (const Reading& summary : study.list("comparison_summary")) {
    findings.agreement_summaries.push_back({.kind = kind_of(summary),
                                            .machine = summary.text("machine"),
                                            .pairs = summary.number("pairs"),
                                            .mean_error = summary.number("mean_error"),
                                            .worst_error = summary.number("worst_error"),
                                            .mean_beyond = summary.number("mean_beyond_spread")});
  }
}

void add_loads(const Reading& study, Findings& findings) {
  for (const Reading& load : study.list("loads")) {
    findings.loads.push_back(
        {.name = load.text("routing"), .rows = load.matrix("layers"), .layer_names = {}});
  }
}

void add_notes(const Reading& study, Findings& findings) {
  if (study.has("complete") && !study.flag("complete")) {
    const Reading starts = study.object("starts");
    findings.notes.push_back("The study is not complete: " + number(starts.number("done"), 9) +
                             " of " + number(starts.number("wanted"), 9) +
                             " starts are done. The same command goes on.");
  }
  for (const Reading& point : study.list("points")) {
    for (const Reading& failure : point.list("failures")) {
      if (findings.notes.size() > 20) return;
      findings.notes.push_back("Point " + point.text("id") + " failed: " + failure.text("message"));
    }
  }
}
}  // namespace

void add_study(const Reading& study, Findings& findings) {
  const double format = study.number("format");
  if (!(format == 1)) {
    throw std::invalid_argument(study.where() + " study format " + study.text("format") +
                                ", want 1");
  }
  if (findings.title.empty()) findings.title = study.text("name");
  findings.made_on = study.text("host");
  if (const std::string processor = study.text("processor"); !processor.empty()) {
    findings.made_on += (findings.made_on.empty() ? "" : ", ") + processor;
  }
  if (findings.again.empty()) findings.again = study.text("again");
  const Reading methods = study.object("method");
  for (const std::string& key : methods.keys()) {
    findings.methods.push_back(key + ": " + methods.text(key));
  }
  for (const Reading& point : study.list("points")) {
    findings.results.push_back(point_of(point, findings.again));
  }
  for (const Reading& sweep : study.list("sweeps")) {
    Sweep result{.name = sweep.text("name"), .x = sweep.text("x"), .series = {}};
    for (const Reading& series : sweep.list("series")) result.series.push_back(series_of(series));
    findings.sweeps.push_back(std::move(result));
  }
  add_agreements(study, findings);
  add_loads(study, findings);
  add_notes(study, findings);
}
}  // namespace switchyard::runtime::page
