// SPDX-License-Identifier: Apache-2.0
// What a study shows on stdout, and study.csv.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "launch/commands/bench_report.hpp"
#include "launch/study/results.hpp"

namespace switchyard::launch {
namespace {
using runtime::study::Comparison;
using runtime::study::Curve;
using runtime::study::CurveRow;
using runtime::study::Over;
using runtime::study::Point;
using runtime::study::RankKind;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.1f %%", 100 * share);
  return text;
}

std::string milliseconds_of(double seconds) {
  return figure(seconds * 1e3);
}

std::string machine_of(const StudyResults& results, const Point& point) {
  if (point.machine < 0) return "this one";
  return results.study.machines[static_cast<std::size_t>(point.machine)];
}

/// The error of a simulated point with a real one beside it.
const Comparison* comparison_of(const StudyResults& results, std::size_t point) {
  for (const Comparison& one : results.comparisons) {
    if (one.simulated == point) return &one;
  }
  return nullptr;
}

std::string failure_of(const PointState& state) {
  if (state.failed.empty()) return state.done() ? "" : "not finished";
  const FinishedStart& last = *state.failed.back();
  return std::to_string(state.failed.size()) + " of " + std::to_string(state.wanted) +
         " failed: status " + std::to_string(last.status) + ", " + last.message;
}

struct TableRow {
  double order = 0;  ///< along x; words keep theirs
  std::size_t series = 0;
  std::vector<std::string> cells;
};

std::string heading_of(const StudyResults& results, Over over) {
  const auto& study = results.study;
  const std::string tokens =
      std::to_string(over == Over::kStrong ? study.tokens : study.tokens_per_rank) +
      (over == Over::kStrong ? " tokens a step" : " tokens a rank");
  return std::string(name_of(over)) + " (" + tokens +
         (over == Over::kSkew ? "" : ", routing " + study.routing) +
         (over == Over::kPlacement ? "" : ", placement " + study.placement) + ")";
}

std::vector<std::string> cells_of(const StudyResults& results, const Curve& curve,
                                  const runtime::study::Series::Row& row) {
  const Point& point = results.plan.points[row.point];
  const PointState& state = results.states[row.point];
  std::vector<std::string> cells;
  if (!over_ranks(curve.series.over)) cells.push_back(row.x);
  cells.push_back(std::to_string(point.ranks));
  cells.emplace_back(name_of(point.kind));
  cells.push_back(machine_of(results, point));
  const auto found = std::ranges::find_if(
      curve.rows, [&](const CurveRow& one) { return one.row.point == row.point; });
  if (found == curve.rows.end()) {
    for (int i = 0; i < 6; ++i) cells.emplace_back("-");
    cells.push_back(failure_of(state));
    return cells;
  }
  const bool told = results.times[row.point].repetitions_s.size() == 1;
  cells.push_back(milliseconds_of(found->step_s.median));
  cells.push_back(told ? "-"
                       : milliseconds_of(found->step_s.low) + " to " +
                             milliseconds_of(found->step_s.high) + " (" +
                             decimal(100 * found->step_s.coverage, 1) + " %)");
  cells.push_back(milliseconds_of(results.times[row.point].p99_s()));
  const double tokens =
      point.tokens >= 0 ? static_cast<double>(point.tokens) / found->step_s.median : 0;
  cells.push_back(tokens > 0 ? decimal(tokens, 0) : "-");
  cells.push_back(found->efficiency ? decimal(found->efficiency->median, 3)
                                    : decimal(found->speedup.median, 3) + "x");
  const Comparison* const compared = comparison_of(results, row.point);
  cells.push_back(compared == nullptr ? "-" : percent(compared->error));
  cells.push_back(failure_of(state));
  return cells;
}

void print_laws(const StudyResults& results, const Curve& curve, std::ostream& out) {
  std::string who(name_of(curve.series.kind));
  if (curve.series.machine >= 0) {
    who += " on " + results.study.machines[static_cast<std::size_t>(curve.series.machine)];
  }
  if (curve.series.ranks > 0) who += ", " + std::to_string(curve.series.ranks) + " ranks";
  if (curve.laws.empty()) {
    if (curve.series.over != Over::kSkew && curve.series.over != Over::kPlacement) {
      out << "  law of " << who << ": none, " << curve.no_law << '\n';
    }
    return;
  }
  for (const auto& fit : curve.laws) {
    out << "  law of " << who << ": " << fit.form.formula << ",";
    for (std::size_t i = 0; i < fit.coefficients.size(); ++i) {
      out << ' ' << fit.form.terms[i].name << " = " << milliseconds_of(fit.coefficients[i]) << " ms"
          << (i + 1 < fit.coefficients.size() ? "," : "");
    }
    out << "; residual " << decimal(100 * fit.residual, 2) << " %, worst "
        << decimal(100 * fit.worst, 2) << " %, points left out " << decimal(100 * fit.left_out, 2)
        << " %" << (&fit == &curve.laws.front() ? "" : " (second)") << '\n';
  }
}

void print_sweep(const StudyResults& results, Over over, std::ostream& out) {
  std::vector<std::string> heads;
  if (!over_ranks(over)) heads.emplace_back(name_of(over));
  for (const char* const head :
       {"ranks", "kind", "machine", "step ms", "median lies in", "p99 ms", "tokens/s"}) {
    heads.emplace_back(head);
  }
  heads.emplace_back(over_ranks(over) ? "efficiency" : "over first");
  for (const char* const head : {"against real", ""}) heads.emplace_back(head);
  std::vector<TableRow> rows;
  for (std::size_t s = 0; s < results.curves.size(); ++s) {
    const Curve& curve = results.curves[s];
    if (curve.series.over != over) continue;
    for (std::size_t i = 0; i < curve.series.rows.size(); ++i) {
      const auto& row = curve.series.rows[i];
      const bool words = over == Over::kSkew || over == Over::kPlacement;
      rows.push_back({.order = words ? static_cast<double>(i) : row.number,
                      .series = s,
                      .cells = cells_of(results, curve, row)});
    }
  }
  std::ranges::stable_sort(rows, {}, &TableRow::order);
  Table table(heads);
  for (TableRow& row : rows) table.row(std::move(row.cells));
  out << '\n' << heading_of(results, over) << '\n';
  table.print(out);
  for (const Curve& curve : results.curves) {
    if (curve.series.over == over) print_laws(results, curve, out);
  }
}

void print_comparisons(const StudyResults& results, std::ostream& out) {
  if (results.comparisons.empty()) {
    out << "\nreal against simulated: no point has both\n";
    return;
  }
  out << "\nreal against simulated\n";
  Table table({"point", "kind", "machine", "real ms", "simulated ms", "error", "beyond spread"});
  for (const Comparison& one : results.comparisons) {
    const Point& point = results.plan.points[one.simulated];
    table.row({std::to_string(point.ranks) + " ranks, " + std::to_string(point.tokens) +
                   " tokens, top-" + std::to_string(point.top_k) + " of " +
                   std::to_string(point.experts) + ", " + point.routing + ", " + point.placement,
               std::string(name_of(point.kind)), machine_of(results, point),
               milliseconds_of(one.real_s), milliseconds_of(one.simulated_s), percent(one.error),
               percent(one.beyond_spread)});
  }
  table.print(out);
  for (const auto& it : results.agreements) {
    out << "  " << name_of(it.kind) << " on "
        << results.study.machines[static_cast<std::size_t>(it.machine)] << ": mean error "
        << decimal(100 * it.mean_error, 1) << " %, worst " << decimal(100 * it.worst_error, 1)
        << " %, beyond the real runs' spread " << decimal(100 * it.mean_beyond_spread, 1)
        << " %; pairs that really differ by more than " << decimal(100 * runtime::study::kDiffer, 0)
        << " %: " << it.ordered_right << " of " << it.ordered << " in the right order\n";
  }
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"') result += '"';
    result += letter;
  }
  return result + "\"";
}
}  // namespace

void print_study(const StudyResults& results, std::ostream& out) {
  const auto& study = results.study;
  out << (study.name.empty() ? "study" : study.name) << ": " << study.model << ", " << study.layers
      << (study.layers == 1 ? " MoE layer, " : " MoE layers, ") << study.weights << " weights, "
      << study.steps << " steps after " << study.warmup << ", " << study.repetitions
      << " repetitions of real points; " << results.starts_done << " of " << results.starts_wanted
      << " starts done, " << results.starts_failed << " failed\n";
  for (const std::string& what : results.plan.left_out) out << "left out: " << what << '\n';
  for (const auto& sweep : study.sweeps) print_sweep(results, sweep.over, out);
  print_comparisons(results, out);
  for (const auto& [a, b] : results.other_digests) {
    out << "  other digests of the same work: " << key_of(results.plan.points[a], study) << " and "
        << key_of(results.plan.points[b], study) << '\n';
  }
}

std::string study_csv(const StudyResults& results) {
  std::string text =
      "kind,machine,ranks,tokens,experts,top_k,routing,placement,status,repetitions,step_ms_median,"
      "step_ms_low,step_ms_high,coverage,step_ms_p99,tokens_per_s,error_against_real,message\n";
  const auto number = [](double value) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", value);
    return std::string(digits);
  };
  for (std::size_t i = 0; i < results.plan.points.size(); ++i) {
    const Point& point = results.plan.points[i];
    const auto& times = results.times[i];
    const PointState& state = results.states[i];
    std::vector<std::string> cells{std::string(name_of(point.kind)),
                                   point.machine < 0 ? "" : machine_of(results, point),
                                   std::to_string(point.ranks),
                                   std::to_string(point.tokens),
                                   std::to_string(point.experts),
                                   std::to_string(point.top_k),
                                   point.routing,
                                   point.placement,
                                   state.status(),
                                   std::to_string(state.good.size())};
    if (times.known()) {
      const auto it =
          runtime::study::median_interval(times.repetitions_s, results.study.confidence);
      for (const double value : {it.median * 1e3, it.low * 1e3, it.high * 1e3}) {
        cells.push_back(number(value));
      }
      cells.push_back(times.repetitions_s.size() > 1 ? number(it.coverage) : "");
      cells.push_back(number(times.p99_s() * 1e3));
      cells.push_back(point.tokens < 0 ? ""
                                       : number(static_cast<double>(point.tokens) / it.median));
    } else {
      cells.resize(cells.size() + 6);
    }
    const Comparison* const compared = comparison_of(results, i);
    cells.push_back(compared == nullptr ? "" : number(compared->error));
    cells.push_back(state.failed.empty() ? "" : state.failed.back()->message);
    for (std::size_t c = 0; c < cells.size(); ++c) text += (c > 0 ? "," : "") + csv_cell(cells[c]);
    text += '\n';
  }
  return text;
}
}  // namespace switchyard::launch
