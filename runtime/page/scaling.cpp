// SPDX-License-Identifier: Apache-2.0
// Sweeps: curves where x is a number, lines of dots where it is a word.
#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/page/chart/curves.hpp"
#include "runtime/page/chart/dots.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/figure.hpp"

namespace switchyard::runtime::page {
namespace {
struct SweepWords {
  std::string title, x_label, seen;
};

SweepWords words_of(const Sweep& sweep) {
  if (sweep.name == "strong") {
    return {"Strong scaling: the same work on more ranks", "ranks",
            "The time of a step, the tokens of all ranks together being the same everywhere."};
  }
  if (sweep.name == "weak") {
    return {"Weak scaling: work grows with the ranks", "ranks",
            "The time of a step, each rank having the same number of tokens everywhere."};
  }
  if (sweep.name == "experts") {
    return {"More experts", "experts of a layer", "The time of a step by the experts of a layer."};
  }
  if (sweep.name == "top-k") {
    return {"More experts a token", "experts a token",
            "The time of a step by the experts that each token is sent to."};
  }
  if (sweep.name == "skew") {
    return {"Uneven routing", "routing", "The time of a step by how unevenly experts are chosen."};
  }
  if (sweep.name == "placement") {
    return {"Placements", "placement", "The time of a step by where experts live."};
  }
  return {"Time of a step over ranks", "ranks", "The time of a step of each result."};
}

bool numeric(const Sweep& sweep) {
  for (const Series& series : sweep.series) {
    for (const SweepRow& row : series.rows) {
      if (!std::isfinite(row.number)) return false;
    }
  }
  return true;
}

/// Largest and smallest finite values that the sweep has.
std::pair<double, double> span_ms(const Sweep& sweep) {
  std::pair<double, double> span{kUnknown, kUnknown};
  for (const Series& series : sweep.series) {
    for (const SweepRow& row : series.rows) {
      for (const double ms : {row.step_ms.value, row.step_ms.high}) {
        if (!std::isfinite(ms)) continue;
        if (!(span.first <= ms)) span.first = ms;
        if (!(span.second >= ms)) span.second = ms;
      }
    }
  }
  return span;
}

std::string tip_of(const Series& series, const SweepRow& row, const std::string& x_label) {
  std::string tip =
      series.label + ", " + row.x + " " + x_label + ": " + number(row.step_ms.value) + " ms";
  if (row.step_ms.high > row.step_ms.low) {
    tip += " (" + number(row.step_ms.low) + " to " + number(row.step_ms.high) + ")";
  }
  return tip;
}

/// A span that is not known is none.
std::pair<double, double> interval(const Spread& spread, double unit) {
  const double low = std::isfinite(spread.low) ? spread.low : spread.value;
  const double high = std::isfinite(spread.high) ? spread.high : spread.value;
  return {low / unit, high / unit};
}

/// Without points. @param number  of the series in its sweep
Curve curve_of(const Series& series, std::size_t number) {
  return {.name = series.label,
          .colour = static_cast<int>(number),
          .made = !is_real(series.kind),
          .points = {},
          .law = {}};
}

CurveChart time_chart(const Sweep& sweep, const SweepWords& words) {
  const auto [least, most] = span_ms(sweep);
  const Unit unit = time_unit(most / 1e3);
  const double size = unit.size * 1e3;  // in milliseconds
  CurveChart chart{.x_label = words.x_label, .y_label = "time of a step (" + unit.name + ")"};
  std::set<double> xs;
  for (std::size_t i = 0; i < sweep.series.size(); ++i) {
    const Series& series = sweep.series[i];
    Curve curve = curve_of(series, i);
    for (const SweepRow& row : series.rows) {
      const auto [low, high] = interval(row.step_ms, size);
      curve.points.push_back({.x = row.number,
                              .y = row.step_ms.value / size,
                              .low = low,
                              .high = high,
                              .tip = tip_of(series, row, words.x_label)});
      xs.insert(row.number);
    }
    for (const Law& law : series.laws) {
      for (const auto& [x, ms] : law.curve) curve.law.emplace_back(x, ms / size);
    }
    chart.curves.push_back(std::move(curve));
  }
  if (!xs.empty()) chart.log_x = *xs.begin() > 0 && *xs.rbegin() >= 4 * *xs.begin();
  if (xs.size() <= 12) chart.x_ticks.assign(xs.begin(), xs.end());
  const double apart = sweep.x == "ranks" && sweep.name != "weak" ? 3 : 12;
  chart.log_y = least > 0 && most >= apart * least;
  if (sweep.x != "ranks" || sweep.series.empty() || sweep.series[0].rows.empty()) return chart;
  if (sweep.name != "strong" && sweep.name != "weak") return chart;
  const SweepRow& first = sweep.series[0].rows.front();
  if (!std::isfinite(first.step_ms.value)) return chart;
  const double end = *xs.rbegin();
  const double ms = first.step_ms.value / size;
  chart.ideal = {{first.number, ms}, {end, sweep.name == "weak" ? ms : ms * first.number / end}};
  if (!chart.log_x && sweep.name == "strong") {  // a straight line only by logarithms
    chart.ideal.clear();
    for (const double x : xs) chart.ideal.emplace_back(x, ms * first.number / x);
  }
  return chart;
}

std::string law_words(const Sweep& sweep) {
  std::string words;
  for (const Series& series : sweep.series) {
    for (const Law& law : series.laws) {
      words += " Thin line of " + series.label + ": " + law.formula + ", fitted, " +
               number(100 * law.residual, 2) + " % from the points.";
    }
    if (series.laws.empty() && !series.no_law.empty()) {
      words += " No law of " + series.label + ": " + series.no_law + ".";
    }
  }
  return words;
}

Table table_of(const Sweep& sweep, const SweepWords& words) {
  Table table{
      .columns = {"series", words.x_label, "ms", "low", "high", "p99 ms", "speed-up", "efficiency"},
      .rows = {},
      .note = ""};
  for (const Series& series : sweep.series) {
    for (const SweepRow& row : series.rows) {
      table.rows.push_back({series.label, row.x, number(row.step_ms.value), number(row.step_ms.low),
                            number(row.step_ms.high), number(row.p99_ms), number(row.speedup, 3),
                            number(row.efficiency.value, 3)});
    }
  }
  shorten(table);
  return table;
}

std::string description_of(const Sweep& sweep, const std::string& x_label) {
  std::string words;
  for (const Series& series : sweep.series) {
    if (series.rows.empty()) continue;
    const SweepRow& first = series.rows.front();
    const SweepRow& last = series.rows.back();
    words += series.label + ": from " + number(first.step_ms.value) + " ms at " + first.x + " " +
             x_label + " to " + number(last.step_ms.value) + " ms at " + last.x + ". ";
  }
  return words;
}

std::string how_drawn(const Sweep& sweep, bool ideal) {
  bool real = false;
  bool made = false;
  bool spans = false;
  for (const Series& series : sweep.series) {
    (is_real(series.kind) ? real : made) = true;
    for (const SweepRow& row : series.rows) spans = spans || row.step_ms.high > row.step_ms.low;
  }
  std::string words = " Less is better.";
  if (real && made) words += " Filled marks are real runs, hollow ones on dashed lines simulated.";
  if (made && !real) words += " All of it is simulated.";
  if (spans) words += " Bars: the interval of the median.";
  if (ideal) words += " Dotted: the ideal, from the first point.";
  return words;
}

Figure time_figure(const Findings& findings, const Sweep& sweep) {
  const SweepWords words = words_of(sweep);
  Figure figure;
  figure.words = {.id = "scaling-" + sweep.name,
                  .title = words.title,
                  .description = description_of(sweep, words.x_label)};
  figure.command = findings.again;
  figure.table = table_of(sweep, words);
  if (numeric(sweep)) {
    const CurveChart chart = time_chart(sweep, words);
    figure.wide = draw_curves(chart, Layout::kWide);
    figure.narrow = draw_curves(chart, Layout::kNarrow);
    figure.caption = words.seen + how_drawn(sweep, !chart.ideal.empty()) + law_words(sweep);
    return figure;
  }
  const Unit unit = time_unit(span_ms(sweep).second / 1e3);
  const double size = unit.size * 1e3;
  DotChart chart{
      .x_label = "time of a step (" + unit.name + ")", .note_label = "", .keys = {}, .rows = {}};
  std::vector<std::string> names;
  for (std::size_t i = 0; i < sweep.series.size(); ++i) {
    const Series& series = sweep.series[i];
    chart.keys.push_back({.name = series.label,
                          .colour = static_cast<int>(i),
                          .mark = static_cast<int>(i),
                          .made = !is_real(series.kind),
                          .classes = ""});
    for (const SweepRow& row : series.rows) {
      auto found = std::ranges::find(chart.rows, row.x, &DotRow::name);
      if (found == chart.rows.end()) {
        chart.rows.push_back({.name = row.x, .marks = {}, .note = ""});
        found = chart.rows.end() - 1;
      }
      const auto [low, high] = interval(row.step_ms, size);
      found->marks.push_back({.value = row.step_ms.value / size,
                              .low = low,
                              .high = high,
                              .colour = static_cast<int>(i),
                              .made = !is_real(series.kind),
                              .tip = tip_of(series, row, "")});
    }
  }
  figure.wide = draw_dots(chart, Layout::kWide);
  figure.narrow = draw_dots(chart, Layout::kNarrow);
  figure.caption = words.seen + how_drawn(sweep, false);
  return figure;
}

std::optional<Figure> efficiency_figure(const Findings& findings, const Sweep& sweep) {
  if (sweep.name != "strong" && sweep.name != "weak") return std::nullopt;
  CurveChart chart{.x_label = "ranks", .y_label = "efficiency (%)"};
  Figure figure;
  figure.words = {.id = "efficiency-" + sweep.name,
                  .title = (sweep.name == "strong" ? "Efficiency of strong scaling"
                                                   : "Efficiency of weak scaling"),
                  .description = ""};
  figure.table.columns = {"series", "ranks", "efficiency %", "low", "high"};
  std::set<double> xs;
  for (std::size_t i = 0; i < sweep.series.size(); ++i) {
    const Series& series = sweep.series[i];
    Curve curve = curve_of(series, i);
    for (const SweepRow& row : series.rows) {
      if (!std::isfinite(row.efficiency.value) || !std::isfinite(row.number)) continue;
      const auto [low, high] = interval(row.efficiency, 0.01);
      const std::string value = number(100 * row.efficiency.value, 3);
      curve.points.push_back({.x = row.number,
                              .y = 100 * row.efficiency.value,
                              .low = low,
                              .high = high,
                              .tip = series.label + ", " + row.x + " ranks: " + value + " %"});
      figure.table.rows.push_back({series.label, row.x, value, number(low, 3), number(high, 3)});
      xs.insert(row.number);
    }
    if (curve.points.empty()) continue;
    figure.words.description += series.label + ": " + number(curve.points.back().y, 3) + " % at " +
                                number(curve.points.back().x, 9) + " ranks. ";
    chart.curves.push_back(std::move(curve));
  }
  if (xs.size() < 2) return std::nullopt;
  chart.log_x = *xs.begin() > 0 && *xs.rbegin() >= 4 * *xs.begin();
  if (xs.size() <= 12) chart.x_ticks.assign(xs.begin(), xs.end());
  chart.ideal = {{*xs.begin(), 100}, {*xs.rbegin(), 100}};
  shorten(figure.table);
  figure.wide = draw_curves(chart, Layout::kWide);
  figure.narrow = draw_curves(chart, Layout::kNarrow);
  figure.caption =
      "What is left of the ideal, counted from each series' smallest number of ranks. More is "
      "better.";
  figure.command = findings.again;
  return figure;
}
}  // namespace

std::vector<Figure> scaling_figures(const Findings& findings) {
  std::vector<Figure> figures;
  for (const Sweep& sweep : findings.sweeps) {
    const bool any = std::ranges::any_of(sweep.series,
                                         [](const Series& series) { return !series.rows.empty(); });
    if (!any) {
      figures.push_back(missing_figure("scaling-" + sweep.name, words_of(sweep).title,
                                       "No point of this sweep is done yet."));
      continue;
    }
    figures.push_back(time_figure(findings, sweep));
    if (auto efficiency = efficiency_figure(findings, sweep)) {
      figures.push_back(std::move(*efficiency));
    }
  }
  if (figures.empty()) {
    figures.push_back(missing_figure("scaling", "Scaling",
                                     "No sweep is here: `switchyard study --to DIRECTORY` makes "
                                     "one, or give results (--json) of several rank counts."));
  }
  return figures;
}
}  // namespace switchyard::runtime::page
