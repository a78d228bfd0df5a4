// SPDX-License-Identifier: Apache-2.0
// Which experts, copies and ranks have how much to do, layer by layer.
#include <algorithm>
#include <cmath>

#include "experts/index.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"
#include "runtime/page/figure.hpp"

namespace switchyard::runtime::page {
namespace {
constexpr std::int64_t kMostLayers = 64;

// Where colours begin, over the mean; ranks are closer to it than experts.
std::vector<double> expert_levels() {
  return {0.1, 0.25, 0.5, 0.8, 1.25, 2, 3, 5};
}
std::vector<double> rank_levels() {
  return {0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 1.6, 2.5};
}

/// What is finite in a row: sum, count and largest.
struct RowSum {
  double sum = 0;
  double most = 0;
  double count = 0;
  [[nodiscard]] double over_mean() const { return sum > 0 ? most * count / sum : 1; }
};

RowSum sum_of(const Matrix2& matrix, std::int64_t row) {
  RowSum all;
  for (std::int64_t c = 0; c < matrix.columns; ++c) {
    const double value = matrix.values[at(row * matrix.columns + c)];
    if (!std::isfinite(value)) continue;
    all.sum += value;
    all.most = std::max(all.most, value);
    ++all.count;
  }
  return all;
}

/// Each row over `share` of its own sum.
Matrix2 over_share(Matrix2 matrix, double parts) {
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    const double sum = sum_of(matrix, r).sum;
    for (std::int64_t c = 0; c < matrix.columns; ++c) {
      double& value = matrix.values[at(r * matrix.columns + c)];
      if (sum > 0) value *= parts / sum;
    }
  }
  return matrix;
}

/// A panel of at most so many columns, and what was gathered, in words.
HeatPanel panel_of(const std::string& name, const Matrix2& matrix,
                   const std::vector<std::string>& layer_names, Layout layout, std::string* how) {
  const Gathered small =
      gather(matrix, kMostLayers, layout == Layout::kWide ? 256 : 96, Gather::kMost);
  HeatPanel panel{.name = name, .matrix = small.matrix};
  panel.row_step = small.row_cells;
  panel.column_step = small.column_cells;
  for (std::int64_t r = 0; r < small.matrix.rows && !layer_names.empty(); ++r) {
    panel.row_names.push_back(layer_names[at(r * small.row_cells)]);
  }
  if (how != nullptr && small.row_cells * small.column_cells > 1) {
    *how = " A cell is the busiest of " + std::to_string(small.column_cells) +
           (small.row_cells > 1 ? " in " + std::to_string(small.row_cells) + " layers." : ".");
  }
  return panel;
}

/// Slots rank by rank: lines between ranks and their numbers below, where there is room.
void mark_ranks(HeatPanel& panel, const Placed& placed) {
  if (panel.column_step != 1 || placed.ranks > 64) {
    panel.column_names.assign(at(panel.matrix.columns), "");
    return;
  }
  panel.cuts = placed.cuts;
  panel.column_names.assign(at(panel.matrix.columns), "");
  std::int64_t begin = 0;
  for (int rank = 0; rank < placed.ranks; ++rank) {
    const std::int64_t end = rank + 1 < placed.ranks ? placed.cuts[at(rank)] : panel.matrix.columns;
    if (end > begin) panel.column_names[at((begin + end - 1) / 2)] = std::to_string(rank);
    begin = end;
  }
}

void draw(Figure& figure, HeatChart& chart, const std::vector<HeatPanel>& wide,
          const std::vector<HeatPanel>& narrow) {
  chart.panels = wide;
  figure.wide = draw_heat(chart, Layout::kWide);
  chart.panels = narrow;
  figure.narrow = draw_heat(chart, Layout::kNarrow);
}

Table layer_table(const std::string& of, const std::vector<std::string>& names,
                  const std::vector<const Matrix2*>& matrices,
                  const std::vector<std::string>& layer_names) {
  Table table;
  table.columns = {"layer"};
  for (const std::string& name : names) {
    table.columns.push_back("busiest " + of + ", " + name);
    table.columns.push_back("its rows");
    table.columns.push_back("over the mean");
  }
  for (std::int64_t r = 0; !matrices.empty() && r < matrices[0]->rows; ++r) {
    std::vector<std::string> cells{layer_names.empty() ? std::to_string(r) : layer_names[at(r)]};
    for (const Matrix2* matrix : matrices) {
      if (r >= matrix->rows) continue;
      const auto begin = matrix->values.begin() + r * matrix->columns;
      const auto most = std::max_element(begin, begin + matrix->columns, [](double a, double b) {
        return !std::isfinite(a) || (std::isfinite(b) && a < b);
      });
      const RowSum sum = sum_of(*matrix, r);
      cells.push_back(std::to_string(most - begin));
      cells.push_back(number(sum.most, 9));
      cells.push_back(number(sum.over_mean(), 3));
    }
    table.rows.push_back(std::move(cells));
  }
  shorten(table);
  return table;
}

Figure expert_figure(const Findings& findings, const Load& load) {
  Figure figure;
  HeatChart chart{.x_label = "expert",
                  .y_label = "layer",
                  .level_label = "tokens of an expert, over those of the layer's mean expert",
                  .levels = expert_levels(),
                  .square = false,
                  .panels = {}};
  const Matrix2 shares = over_share(load.rows, static_cast<double>(load.rows.columns));
  std::string how;
  draw(figure, chart, {panel_of(load.name, shares, load.layer_names, Layout::kWide, &how)},
       {panel_of(load.name, shares, load.layer_names, Layout::kNarrow, nullptr)});
  double worst = 1;
  for (std::int64_t r = 0; r < load.rows.rows; ++r) {
    worst = std::max(worst, sum_of(load.rows, r).over_mean());
  }
  figure.words = {.id = "experts",
                  .title = "Load of every expert",
                  .description = "Heat map of " + std::to_string(load.rows.rows) + " layers by " +
                                 std::to_string(load.rows.columns) + " experts. The busiest has " +
                                 number(worst, 3) + " times the mean of its layer."};
  figure.caption = "What the router chose, before any placement: the busiest expert has " +
                   number(worst, 3) + " times the mean of its layer." + how;
  figure.command = findings.placed_command.empty() ? findings.again : findings.placed_command;
  figure.table = layer_table("expert", {"router"}, {&load.rows}, load.layer_names);
  return figure;
}

/// Copies of experts in the order of the ranks that hold them.
Figure copy_figure(const Findings& findings) {
  Figure figure;
  HeatChart chart{.x_label = "copies, by the rank that holds them",
                  .y_label = "layer",
                  .level_label = "rows of a copy, over those of the layer's mean expert",
                  .levels = expert_levels(),
                  .square = false,
                  .panels = {}};
  std::vector<HeatPanel> wide;
  std::vector<HeatPanel> narrow;
  std::string how;
  std::vector<std::string> names;
  std::vector<const Matrix2*> matrices;
  const double experts = static_cast<double>(findings.loads.back().rows.columns);
  for (const Placed& placed : findings.placed) {
    const Matrix2 shares = over_share(placed.copies, experts);
    for (const Layout layout : {Layout::kWide, Layout::kNarrow}) {
      HeatPanel panel = panel_of(placed.name, shares, placed.layer_names, layout, &how);
      mark_ranks(panel, placed);
      (layout == Layout::kWide ? wide : narrow).push_back(std::move(panel));
    }
    names.push_back(placed.name);
    matrices.push_back(&placed.copies);
  }
  draw(figure, chart, wide, narrow);
  figure.words = {.id = "copies",
                  .title = "Load of every copy, before and after",
                  .description = "Heat maps of copies of experts by layer, for the placements " +
                                 names.front() + " to " + names.back() + "."};
  figure.caption =
      "Rows that each copy of an expert computes, ranks side by side: an expert with copies is "
      "split between them." +
      how;
  figure.command = findings.placed_command;
  figure.table = layer_table("copy", names, matrices, findings.placed[0].layer_names);
  return figure;
}

struct RankRows {
  std::string name;
  const Matrix2* rows;
};

Figure rank_figure(const Findings& findings, const std::vector<RankRows>& all,
                   const std::vector<std::string>& layer_names) {
  Figure figure;
  HeatChart chart{.x_label = "rank",
                  .y_label = "layer",
                  .level_label = "rows of a rank, over those of the layer's mean rank",
                  .levels = rank_levels(),
                  .square = false,
                  .panels = {}};
  std::vector<HeatPanel> wide;
  std::vector<HeatPanel> narrow;
  std::vector<std::string> names;
  std::vector<const Matrix2*> matrices;
  std::string how;
  std::string worst;
  for (const auto& [name, rows] : all) {
    const Matrix2 shares = over_share(*rows, static_cast<double>(rows->columns));
    wide.push_back(panel_of(name, shares, layer_names, Layout::kWide, &how));
    narrow.push_back(panel_of(name, shares, layer_names, Layout::kNarrow, nullptr));
    names.push_back(name);
    matrices.push_back(rows);
    double most = 1;
    for (std::int64_t r = 0; r < rows->rows; ++r) {
      most = std::max(most, sum_of(*rows, r).over_mean());
    }
    worst += (worst.empty() ? "" : ", ") + name + " " + number(most, 3);
  }
  draw(figure, chart, wide, narrow);
  figure.words = {
      .id = "ranks",
      .title = all.size() > 1 ? "Load of every rank, before and after" : "Load of every rank",
      .description = "Heat maps of ranks by layer. Busiest rank over the mean: " + worst + "."};
  figure.caption =
      "Rows that each rank computes in each layer: what the others wait for is the "
      "darkest (in the dark: the lightest) cell. Busiest rank of any layer, over its mean: " +
      worst + "." + how;
  figure.command = findings.placed.empty() ? findings.again : findings.placed_command;
  figure.table = layer_table("rank", names, matrices, layer_names);
  return figure;
}

/// Results of several placements of the same load; else of one.
std::vector<RankRows> placements_of_results(const Findings& findings) {
  std::vector<RankRows> best;
  for (const Result& first : findings.results) {
    if (first.rows.rows == 0 || first.load < 0) continue;
    std::vector<RankRows> same;
    std::vector<std::string> placements;
    for (const Result& other : findings.results) {
      if (other.load != first.load || other.rows.columns != first.rows.columns) continue;
      if (other.rows.rows != first.rows.rows) continue;
      if (std::ranges::find(placements, other.placement) != placements.end()) continue;
      placements.push_back(other.placement);
      same.push_back({.name = other.placement, .rows = &other.rows});
    }
    if (same.size() > best.size() && (best.empty() || same.size() > 1)) best = std::move(same);
  }
  if (best.size() > 4) best.resize(4);
  return best;
}

/// The load with the busiest expert.
const Load* load_to_show(const Findings& findings) {
  const Load* shown = nullptr;
  double worst = 0;
  for (const Load& load : findings.loads) {
    for (std::int64_t r = 0; r < load.rows.rows; ++r) {
      const double over = sum_of(load.rows, r).over_mean();
      if (over <= worst) continue;
      worst = over;
      shown = &load;
    }
  }
  return findings.placed.empty() ? shown : &findings.loads.back();
}
}  // namespace

std::vector<Figure> load_figures(const Findings& findings) {
  std::vector<Figure> figures;
  if (const Load* load = load_to_show(findings); load != nullptr && load->rows.rows > 0) {
    figures.push_back(expert_figure(findings, *load));
  } else {
    figures.push_back(missing_figure("experts", "Load of every expert",
                                     "No load is here: give a routing trace (run --record-trace "
                                     "FILE, or trace synth)."));
  }
  std::vector<RankRows> ranks;
  if (!findings.placed.empty()) {
    if (findings.placed.size() > 1) figures.push_back(copy_figure(findings));
    for (const Placed& placed : findings.placed) {
      ranks.push_back({.name = placed.name, .rows = &placed.rows});
    }
  } else {
    ranks = placements_of_results(findings);
  }
  if (ranks.empty()) {
    figures.push_back(missing_figure("ranks", "Load of every rank, before and after",
                                     "No placement is here: give a routing trace, and files of "
                                     "place plan --out FILE or --ranks COUNT."));
  } else {
    figures.push_back(rank_figure(
        findings, ranks,
        findings.placed.empty() ? std::vector<std::string>() : findings.placed[0].layer_names));
  }
  return figures;
}
}  // namespace switchyard::runtime::page
