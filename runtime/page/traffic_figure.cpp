// SPDX-License-Identifier: Apache-2.0
// Who sends how much to whom, and how even the work is over time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "experts/index.hpp"
#include "runtime/page/chart/curves.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/figure.hpp"

namespace switchyard::runtime::page {
namespace {
constexpr std::int64_t kMostRanksShown = 64;

struct PairMatrix {
  std::string name = {};
  Matrix2 matrix = {};  ///< [from, to]
};

double largest(const Matrix2& matrix) {
  double most = 0;
  for (const double value : matrix.values) {
    if (std::isfinite(value)) most = std::max(most, value);
  }
  return most;
}

double smallest(const Matrix2& matrix) {
  double least = std::numeric_limits<double>::infinity();
  for (const double value : matrix.values) {
    if (std::isfinite(value)) least = std::min(least, value);
  }
  return least;
}

double sum_over(const Matrix2& matrix) {
  double sum = 0;
  for (const double value : matrix.values) {
    if (std::isfinite(value)) sum += value;
  }
  return sum;
}

void clear_diagonal(Matrix2& matrix) {
  for (std::int64_t r = 0; r < std::min(matrix.rows, matrix.columns); ++r) {
    matrix.values[at(r * matrix.columns + r)] = kUnknown;
  }
}

/// @param what  "rows", "bytes"
Figure matrix_figure(std::vector<PairMatrix> matrices, const std::string& what,
                     const std::string& caption, const std::string& command) {
  Figure figure;
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  std::string how = {};
  std::vector<std::int64_t> steps = {};
  std::string totals = {};
  figure.table.columns = {"placement", "from", "to", what};
  for (auto& [name, matrix] : matrices) {
    clear_diagonal(matrix);
    totals += (totals.empty() ? "" : ", ") + name + " " + number(sum_over(matrix), 4);
    const std::int64_t full = matrix.rows;
    const Gathered small = gather(matrix, kMostRanksShown, kMostRanksShown, Gather::kMean);
    matrix = small.matrix;
    steps.push_back(small.row_cells);
    if (small.row_cells > 1) {
      how = " " + number(static_cast<double>(full), 9) + " ranks: a cell is the mean of " +
            std::to_string(small.row_cells) + " by " + std::to_string(small.column_cells) +
            " pairs.";
    }
    most = std::max(most, largest(matrix));
    least = std::min(least, smallest(matrix));
    for (std::int64_t r = 0; r < matrix.rows; ++r) {
      for (std::int64_t c = 0; c < matrix.columns; ++c) {
        const double value = matrix.values[at(r * matrix.columns + c)];
        if (!std::isfinite(value)) continue;
        figure.table.rows.push_back({name, std::to_string(r * small.row_cells),
                                     std::to_string(c * small.column_cells), number(value, 9)});
      }
    }
  }
  shorten(figure.table);
  const Unit unit = what == "bytes" ? byte_unit(most) : count_unit(most);
  HeatChart chart{.x_label = "to rank",
                  .y_label = "from rank",
                  .level_label = what == "bytes"
                                     ? unit.name + " from one rank to another"
                                     : (unit.name.empty() ? what : what + " (" + unit.name + ")") +
                                           " from one rank to another",
                  .levels = even_levels(least / unit.size, most / unit.size),
                  .square = true,
                  .panels = {}};
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    HeatPanel panel{.name = matrices[i].name, .matrix = matrices[i].matrix};
    for (double& value : panel.matrix.values) value /= unit.size;
    panel.row_step = panel.column_step = steps[i];
    chart.panels.push_back(std::move(panel));
  }
  figure.wide = draw_heat(chart, Layout::kWide);
  figure.narrow = draw_heat(chart, Layout::kNarrow);
  figure.words = {.id = "traffic",
                  .title = "Traffic from rank to rank",
                  .description = "Heat map of " + what + " between ranks. In all: " + totals + "."};
  figure.caption = caption + how + " In all: " + totals + " " + what + ".";
  figure.command = command;
  return figure;
}

std::vector<PairMatrix> matrices_of_results(const Findings& findings) {
  // The real result with most ranks, and the first simulated one of as many.
  const Result* real = nullptr;
  for (const Result& result : findings.results) {
    if (!(sum_over(result.bytes) > 0)) continue;  // a node's ranks need no messages
    if (real == nullptr || (is_real(result.kind) && !is_real(real->kind)) ||
        (is_real(result.kind) == is_real(real->kind) && result.bytes.rows > real->bytes.rows)) {
      real = &result;
    }
  }
  std::vector<PairMatrix> matrices = {};
  if (real == nullptr) return matrices;
  matrices.push_back({.name = name_of(real->kind) + ", " + real->placement, .matrix = real->bytes});
  for (const Result& other : findings.results) {
    if (&other == real || other.bytes.rows != real->bytes.rows) continue;
    if (!(sum_over(other.bytes) > 0)) continue;
    if (other.kind == real->kind && other.placement == real->placement) continue;
    matrices.push_back(
        {.name = name_of(other.kind) + ", " + other.placement, .matrix = other.bytes});
    break;
  }
  return matrices;
}

struct Evenness {
  std::string name = {};
  std::vector<std::int64_t> steps = {};
  std::vector<double> values = {};
  bool made = false;
};

std::vector<Evenness> evenness_of(const Findings& findings) {
  constexpr std::size_t kMost = 5;
  std::vector<Evenness> all = {};
  for (const Placed& placed : findings.placed) {
    all.push_back({.name = placed.name, .steps = placed.steps, .values = placed.balancedness});
  }
  if (!all.empty()) return all;
  for (const Result& result : findings.results) {
    if (result.balancedness_by_step.empty() || all.size() == kMost) continue;
    Evenness one{.name = name_of(result, findings.results),
                 .steps = {},
                 .values = result.balancedness_by_step};
    one.steps.resize(one.values.size());
    std::iota(one.steps.begin(), one.steps.end(), 0);
    // Real and simulated of one setting send the same rows.
    const bool there =
        std::ranges::any_of(all, [&](const Evenness& other) { return other.values == one.values; });
    if (!there) all.push_back(std::move(one));
  }
  return all;
}
}  // namespace

std::vector<Figure> traffic_figures(const Findings& findings) {
  if (!findings.placed.empty() && findings.placed[0].traffic.rows > 0) {
    std::vector<PairMatrix> matrices;
    for (const Placed& placed : findings.placed) {
      matrices.push_back({.name = placed.name, .matrix = placed.traffic});
    }
    return {matrix_figure(std::move(matrices), "rows",
                          "Rows on their way to experts, all steps and layers together, after "
                          "deduplication: a token's row goes to a rank once. What stays on a rank "
                          "is left out.",
                          findings.placed_command)};
  }
  std::vector<PairMatrix> matrices = matrices_of_results(findings);
  if (matrices.empty()) {
    return {missing_figure(
        "traffic", "Traffic from rank to rank",
        "No messages between ranks are here: run and simulate write them with --json for up to 64 "
        "ranks (ranks of one node share memory and send none); else give a routing trace and a "
        "placement.")};
  }
  return {matrix_figure(std::move(matrices), "bytes",
                        "Bytes of messages between ranks, all steps together.", findings.again)};
}

Figure balance_figure(const Findings& findings) {
  const std::string title = "Balancedness over time";
  const std::vector<Evenness> all = evenness_of(findings);
  if (all.empty()) {
    return missing_figure("balance", title,
                          "No steps are here: give a routing trace, and a placement or --ranks.");
  }
  Figure figure;
  CurveChart chart{.x_label = "step", .y_label = "mean over busiest rank"};
  figure.table.columns = {"step"};
  std::string means = {};
  std::size_t longest = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Curve curve{
        .name = all[i].name, .colour = static_cast<int>(i), .made = false, .points = {}, .law = {}};
    double sum = 0;
    for (std::size_t s = 0; s < all[i].values.size(); ++s) {
      const double value = all[i].values[s];
      sum += value;
      curve.points.push_back({.x = static_cast<double>(all[i].steps[s]),
                              .y = value,
                              .low = value,
                              .high = value,
                              .tip = all[i].name + ", step " + std::to_string(all[i].steps[s]) +
                                     ": " + number(value, 3)});
    }
    longest = std::max(longest, curve.points.size());
    if (!curve.points.empty()) {
      means += (means.empty() ? "" : ", ") + all[i].name + " " +
               number(sum / static_cast<double>(curve.points.size()), 3);
    }
    figure.table.columns.push_back(all[i].name);
    chart.curves.push_back(std::move(curve));
  }
  for (std::size_t s = 0; s < longest; ++s) {
    std::vector<std::string> cells{std::to_string(s)};
    for (const Evenness& one : all) {
      if (s < one.steps.size()) cells[0] = std::to_string(one.steps[s]);
      cells.push_back(s < one.values.size() ? number(one.values[s], 4) : "\u2013");
    }
    figure.table.rows.push_back(std::move(cells));
  }
  shorten(figure.table);
  chart.marks = longest <= 32;
  if (longest > 0) {
    const auto last = static_cast<double>(all[0].steps.back());
    chart.ideal = {{static_cast<double>(all[0].steps.front()), 1.0}, {last, 1.0}};
    chart.ideal_name = "even";
  }
  figure.wide = draw_curves(chart, Layout::kWide);
  figure.narrow = draw_curves(chart, Layout::kNarrow);
  figure.words = {.id = "balance",
                  .title = title,
                  .description = "Balancedness by step. Means: " + means + "."};
  figure.caption =
      "Rows of the mean rank over those of the busiest, step by step, all layers "
      "summed up: 1 is even. Means: " +
      means + ".";
  figure.command = findings.placed.empty() ? findings.again : findings.placed_command;
  return figure;
}
}  // namespace switchyard::runtime::page
