// SPDX-License-Identifier: Apache-2.0
// Simulated against real, with the error printed; and how well policies did.
#include <algorithm>
#include <cmath>

#include "runtime/page/chart/dots.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/figure.hpp"

namespace switchyard::runtime::page {
namespace {
constexpr std::size_t kMostPairs = 40;

std::string summary_words(const Findings& findings) {
  std::string words;
  for (const AgreementSummary& summary : findings.agreement_summaries) {
    if (!(summary.pairs > 0)) continue;
    words += summary.kind == Kind::kFast ? " Closed form" : " Simulated";
    words += (summary.machine.empty() ? "" : " on " + summary.machine) + ": " +
             number(summary.pairs, 9) + (summary.pairs == 1 ? " pair" : " pairs") +
             ", mean error " + number(100 * summary.mean_error, 2) + " %, worst " +
             number(100 * summary.worst_error, 2) + " %";
    if (std::isfinite(summary.mean_beyond)) {
      words += "; beyond the real runs' own spread " + number(100 * summary.mean_beyond, 2) +
               " % in the mean";
    }
    words += ".";
  }
  return words;
}

DotRow row_of(const Agreement& pair, double size, bool several_machines) {
  DotRow row{.name = pair.name, .marks = {}, .note = percent(pair.error)};
  const double real = pair.real_ms.value / size;
  row.marks.push_back({.value = real,
                       .low = std::isfinite(pair.real_ms.low) ? pair.real_ms.low / size : real,
                       .high = std::isfinite(pair.real_ms.high) ? pair.real_ms.high / size : real,
                       .colour = 0,
                       .made = false,
                       .tip = "real: " + number(pair.real_ms.value) + " ms"});
  const double made = pair.simulated_ms / size;
  row.marks.push_back({.value = made,
                       .low = made,
                       .high = made,
                       .colour = pair.kind == Kind::kFast ? 2 : 1,
                       .made = true,
                       .tip = name_of(pair.kind) + ": " + number(pair.simulated_ms) + " ms"});
  if (pair.kind == Kind::kFast) row.name += ", closed form";
  if (several_machines && !pair.machine.empty()) row.name += ", " + pair.machine;
  return row;
}
}  // namespace

Figure agreement_figure(const Findings& findings) {
  const std::string title = "Simulated against real";
  if (findings.agreements.empty()) {
    return missing_figure("agreement", title,
                          "Nothing here was both run and simulated with the same settings.");
  }
  Figure figure;
  double most = 0;
  for (const Agreement& pair : findings.agreements) {
    for (const double ms : {pair.real_ms.value, pair.real_ms.high, pair.simulated_ms}) {
      if (std::isfinite(ms)) most = std::max(most, ms);
    }
  }
  const Unit unit = time_unit(most / 1e3);
  DotChart chart{.x_label = "time of a step (" + unit.name + ")",
                 .note_label = "error",
                 .keys = {{.name = "real", .colour = 0, .mark = 0, .made = false, .classes = ""}},
                 .rows = {},
                 .joined = true};
  const auto any = [&](Kind kind) {
    return std::ranges::any_of(findings.agreements,
                               [&](const Agreement& pair) { return pair.kind == kind; });
  };
  if (any(Kind::kSimulated)) {
    chart.keys.push_back(
        {.name = "simulated", .colour = 1, .mark = 1, .made = true, .classes = ""});
  }
  if (any(Kind::kFast)) {
    chart.keys.push_back(
        {.name = "closed form", .colour = 2, .mark = 1, .made = true, .classes = ""});
  }
  const bool several = std::ranges::any_of(findings.agreements, [&](const Agreement& pair) {
    return pair.machine != findings.agreements.front().machine;
  });
  figure.table.columns = {"setting",      "kind",  "machine",      "real ms",
                          "simulated ms", "error", "beyond spread"};
  for (const Agreement& pair : findings.agreements) {
    if (chart.rows.size() < kMostPairs)
      chart.rows.push_back(row_of(pair, unit.size * 1e3, several));
    figure.table.rows.push_back({pair.name, name_of(pair.kind), pair.machine,
                                 number(pair.real_ms.value), number(pair.simulated_ms),
                                 percent(pair.error), percent(pair.beyond_spread)});
  }
  shorten(figure.table);
  const std::string summary = summary_words(findings);
  figure.words = {
      .id = "agreement", .title = title, .description = "Errors of the simulation." + summary};
  figure.caption =
      "Each line is one setting that was run and simulated; the error is simulated over real, less "
      "one." +
      summary;
  if (findings.agreements.size() > kMostPairs) {
    figure.caption += " The first " + std::to_string(kMostPairs) + " of " +
                      std::to_string(findings.agreements.size()) + " pairs are drawn.";
  }
  figure.command = findings.again;
  figure.wide = draw_dots(chart, Layout::kWide);
  figure.narrow = draw_dots(chart, Layout::kNarrow);
  return figure;
}

std::optional<Figure> policy_figure(const Findings& findings) {
  if (findings.policies.empty()) return std::nullopt;
  Figure figure;
  DotChart chart{
      .x_label = "regret (%)",
      .note_label = "regret",
      .keys =
          {{.name = "judged on the next window",
            .colour = 0,
            .mark = 0,
            .made = false,
            .classes = ""},
           {.name = "had the plan known it", .colour = 2, .mark = 1, .made = true, .classes = ""}},
      .rows = {},
      .joined = true};
  figure.table.columns = {"policy", "regret %", "in hindsight %", "balancedness"};
  for (const PolicyVerdict& policy : findings.policies) {
    const double regret = 100 * policy.regret;
    const double hindsight = 100 * policy.hindsight;
    chart.rows.push_back(
        {.name = policy.name,
         .marks = {{.value = regret,
                    .low = regret,
                    .high = regret,
                    .colour = 0,
                    .made = false,
                    .tip = policy.name + ": " + number(regret, 3) + " %"},
                   {.value = hindsight,
                    .low = hindsight,
                    .high = hindsight,
                    .colour = 2,
                    .made = true,
                    .tip = policy.name + ", hindsight: " + number(hindsight, 3) + " %"}},
         .note = number(regret, 3) + " %"});
    figure.table.rows.push_back(
        {policy.name, number(regret, 3), number(hindsight, 3), number(policy.balancedness, 4)});
  }
  figure.words = {.id = "policies",
                  .title = "Policies of placement",
                  .description = "Regret of each policy against a bound that none can beat."};
  figure.caption =
      "Rows of the busiest rank over the least that any placement can have, less one. Less is "
      "better.";
  figure.command = findings.policies_command;
  figure.wide = draw_dots(chart, Layout::kWide);
  figure.narrow = draw_dots(chart, Layout::kNarrow);
  return figure;
}
}  // namespace switchyard::runtime::page
