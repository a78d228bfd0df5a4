// SPDX-License-Identifier: Apache-2.0
// Where the time of a step goes.
#include <algorithm>
#include <cmath>

#include "runtime/page/chart/bars.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/figure.hpp"

namespace switchyard::runtime::page {
namespace {
constexpr std::size_t kMostBars = 14;

/// The same colour in every bar, whatever phases it has.
int phase_colour(const std::string& name) {
  if (name == "dispatch") return 0;
  if (name == "combine") return 1;
  if (name == "experts" || name == "compute") return 2;
  if (name == "always-on") return 3;
  return name == "plan" ? 4 : 5;
}
}  // namespace

Figure phase_figure(const Findings& findings) {
  const std::string title = "Where the time of a step goes";
  std::vector<const Result*> shown;
  double most = 0;
  for (const Result& result : findings.results) {
    double sum = 0;
    for (const PhaseShare& phase : result.phases) {
      if (std::isfinite(phase.ms)) sum += phase.ms;
    }
    if (sum > 0) shown.push_back(&result);
    most = std::max(most, sum);
  }
  if (shown.empty()) {
    return missing_figure(
        "phases", title, "No result with phases is here: run and simulate write them with --json.");
  }
  Figure figure;
  const Unit unit = time_unit(most / 1e3);
  BarChart chart{.x_label = "time of a step (" + unit.name + ")", .bars = {}};
  figure.table.columns = {"result", "kind", "phase", "ms", "of it waiting"};
  bool means = false;
  bool slowest = false;
  for (const Result* result : shown) {
    const std::string name = name_of(*result, findings.results) + ", " + name_of(result->kind) +
                             (result->machine.empty() ? "" : " on " + result->machine);
    StackedBar bar{.name = name, .parts = {}, .total = ""};
    double sum = 0;
    for (const PhaseShare& phase : result->phases) {
      if (!std::isfinite(phase.ms)) continue;
      sum += phase.ms;
      bar.parts.push_back({.name = phase.name,
                           .colour = phase_colour(phase.name),
                           .value = phase.ms / unit.size / 1e3,
                           .pale = phase.waiting_ms / unit.size / 1e3,
                           .tip = phase.name + ": " + number(phase.ms) + " ms"});
      figure.table.rows.push_back(
          {name, name_of(result->kind), phase.name, number(phase.ms), number(phase.waiting_ms)});
    }
    bar.total = number(sum / unit.size / 1e3, 3) + " " + unit.name;
    (result->phase_means ? means : slowest) = true;
    if (chart.bars.size() < kMostBars) chart.bars.push_back(std::move(bar));
  }
  shorten(figure.table);
  figure.words = {.id = "phases",
                  .title = title,
                  .description = "Times of the phases of a step, for " +
                                 std::to_string(chart.bars.size()) + " results."};
  figure.caption = means ? "Phases of a step, the mean over ranks."
                         : "Phases of a step, the slowest rank in each.";
  if (means && slowest) figure.caption += " Where no mean is known: the slowest rank in each.";
  if (shown.size() > kMostBars) {
    figure.caption += " The first " + std::to_string(kMostBars) + " of " +
                      std::to_string(shown.size()) + " results.";
  }
  figure.command = shown.size() == 1 || !findings.again.empty() ? shown[0]->command : "";
  figure.wide = draw_bars(chart, Layout::kWide);
  figure.narrow = draw_bars(chart, Layout::kNarrow);
  return figure;
}
}  // namespace switchyard::runtime::page
