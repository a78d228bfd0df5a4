// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/heat.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "experts/index.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"

namespace switchyard::runtime::page {
namespace {
std::string name_at(const std::vector<std::string>& names, std::int64_t index, std::int64_t step) {
  return at(index) < names.size() ? names[at(index)] : std::to_string(index * step);
}

int level_of(double value, const std::vector<double>& levels) {
  const auto above = std::upper_bound(levels.begin(), levels.end(), value);
  return static_cast<int>(std::min<std::ptrdiff_t>(above - levels.begin(), kHeatLevels - 1));
}

/// A path a level, of runs of neighbours with the same: a cell costs a dozen bytes.
void draw_cells(Sheet& sheet, const Matrix2& matrix, const std::vector<double>& levels, double left,
                double top, double wide, double high) {
  std::array<std::string, kHeatLevels> runs;
  std::string none;
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    std::int64_t c = 0;
    while (c < matrix.columns) {
      const auto level = [&](std::int64_t column) {
        const double value = matrix.values[at(r * matrix.columns + column)];
        return std::isfinite(value) ? level_of(value, levels) : -1;
      };
      const int here = level(c);
      const std::int64_t begin = c;
      while (c < matrix.columns && level(c) == here) ++c;
      const double x = left + static_cast<double>(begin) * wide;
      const double run = static_cast<double>(c - begin) * wide;
      const std::string d = "M" + px(x) + " " + px(top + static_cast<double>(r) * high) + "h" +
                            px(run) + "v" + px(high) + "h" + px(-run) + "z";
      (here < 0 ? none : runs[at(here)]) += d;
    }
  }
  if (!none.empty()) sheet.path(none, "void");
  for (int i = 0; i < kHeatLevels; ++i) {
    if (!runs[at(i)].empty()) sheet.path(runs[at(i)], "h" + std::to_string(i));
  }
}

double row_room(const HeatChart& chart) {
  double room = 0;
  for (const HeatPanel& panel : chart.panels) {
    for (std::int64_t r = 0; r < panel.matrix.rows; ++r) {
      room = std::max(room, text_width(name_at(panel.row_names, r, panel.row_step), kTickSize));
    }
  }
  return std::min(room + 8, 110.0);
}

/// Names every nth row and column, so that they stand clear of each other.
void draw_names(Sheet& sheet, const HeatPanel& panel, double left, double top, double wide,
                double high, double room) {
  const auto every = [](double size, double least) {
    const std::array<std::int64_t, 10> steps{1, 2, 4, 5, 8, 10, 16, 20, 32, 64};
    for (const std::int64_t step : steps) {
      if (size * static_cast<double>(step) >= least) return step;
    }
    return static_cast<std::int64_t>(std::ceil(least / size));
  };
  const std::int64_t rows = every(high, 16);
  for (std::int64_t r = 0; r < panel.matrix.rows; r += rows) {
    sheet.text(left - 6, top + (static_cast<double>(r) + 0.5) * high + 4.3, Anchor::kEnd, "tick",
               fitted(name_at(panel.row_names, r, panel.row_step), room - 6, kTickSize));
  }
  const double bottom = top + static_cast<double>(panel.matrix.rows) * high;
  const double end = left + static_cast<double>(panel.matrix.columns) * wide + 8;
  const bool numbers = panel.column_names.empty();
  const double widest =
      text_width(name_at({}, panel.matrix.columns - 1, panel.column_step), kTickSize);
  const std::int64_t columns = numbers ? every(wide, widest + 8) : 1;
  double free_from = 0;
  for (std::int64_t c = 0; c < panel.matrix.columns; c += columns) {
    const std::string name = name_at(panel.column_names, c, panel.column_step);
    const double half = text_width(name, kTickSize) / 2;
    const double x = left + (static_cast<double>(c) + 0.5) * wide;
    if (name.empty() || x - half < free_from || x + half > end) continue;
    sheet.text(x, bottom + 16, Anchor::kMiddle, "tick", name);
    free_from = x + half + 6;
  }
}

/// Swatches from little to much, with the values between them.
double draw_levels(Sheet& sheet, const HeatChart& chart, double left, double top, double width) {
  const double each = std::min(44.0, width / kHeatLevels);
  const auto label = wrapped(chart.level_label, width, kTextSize);
  for (const std::string& line : label) {
    sheet.text(left, top + 13, Anchor::kStart, "axis", line);
    top += 17;
  }
  top -= 17;
  for (int i = 0; i < kHeatLevels; ++i) {
    sheet.rect(left + i * each, top + 22, each, 12, "h" + std::to_string(i));
  }
  for (std::size_t i = 0; i < chart.levels.size(); ++i) {
    const double x = left + static_cast<double>(i + 1) * each;
    sheet.line(x, top + 34, x, top + 38, "rim");
    sheet.text(x, top + 50, Anchor::kMiddle, "tick", number(chart.levels[i], 3));
  }
  return 58 + 17 * static_cast<double>(label.size() - 1);
}
}  // namespace

Gathered gather(const Matrix2& matrix, std::int64_t most_rows, std::int64_t most_columns,
                Gather how) {
  const auto cells = [](std::int64_t count, std::int64_t most) {
    return std::max<std::int64_t>((count + most - 1) / std::max<std::int64_t>(most, 1), 1);
  };
  Gathered all{.matrix = matrix,
               .row_cells = cells(matrix.rows, most_rows),
               .column_cells = cells(matrix.columns, most_columns)};
  if (all.row_cells == 1 && all.column_cells == 1) return all;
  Matrix2& small = all.matrix;
  small.rows = (matrix.rows + all.row_cells - 1) / all.row_cells;
  small.columns = (matrix.columns + all.column_cells - 1) / all.column_cells;
  small.values.assign(at(small.rows * small.columns), std::numeric_limits<double>::quiet_NaN());
  std::vector<std::int64_t> counts(small.values.size());
  for (std::int64_t r = 0; r < matrix.rows; ++r) {
    for (std::int64_t c = 0; c < matrix.columns; ++c) {
      const double value = matrix.values[at(r * matrix.columns + c)];
      if (!std::isfinite(value)) continue;
      const std::size_t cell = at(r / all.row_cells * small.columns + c / all.column_cells);
      double& sum = small.values[cell];
      if (counts[cell]++ == 0) {
        sum = value;
      } else {
        sum = how == Gather::kMean ? sum + value : std::max(sum, value);
      }
    }
  }
  for (std::size_t i = 0; how == Gather::kMean && i < counts.size(); ++i) {
    if (counts[i] > 0) small.values[i] /= static_cast<double>(counts[i]);
  }
  return all;
}

std::vector<double> even_levels(double least, double most) {
  if (least < 0.3 * most || !(least < most)) least = 0;
  const double step = nice_step(most > least ? (most - least) / (kHeatLevels - 1) : 1);
  const double first = std::floor(least / step) + 1;
  std::vector<double> levels;
  for (int i = 0; i < kHeatLevels - 1; ++i) {
    levels.push_back(step < 1 ? (first + i) / std::round(1 / step) : (first + i) * step);
  }
  return levels;
}

Drawing draw_heat(const HeatChart& chart, Layout layout) {
  const double width = width_of(layout);
  const double room = row_room(chart);
  std::int64_t columns = 1;
  for (const HeatPanel& panel : chart.panels) columns = std::max(columns, panel.matrix.columns);
  const bool beside = layout == Layout::kWide && chart.panels.size() == 2 && columns <= 72;
  const double gap = 22;
  const double panel_width = beside ? (width - gap) / 2 : width;
  const double field = panel_width - room - 4;
  Sheet sheet;
  double top = draw_levels(sheet, chart, 0, 0, width) + 14;
  sheet.text(0, top + 13, Anchor::kStart, "axis", chart.y_label);
  top += 20;
  double bottom = top;
  for (std::size_t i = 0; i < chart.panels.size(); ++i) {
    const HeatPanel& panel = chart.panels[i];
    const double left = room + (beside ? static_cast<double>(i) * (panel_width + gap) : 0);
    const double begin = beside ? top : bottom;
    const auto across = static_cast<double>(std::max<std::int64_t>(panel.matrix.columns, 1));
    const double wide = std::min(field / across, chart.square ? 46.0 : 80.0);
    const double rows = static_cast<double>(std::max<std::int64_t>(panel.matrix.rows, 1));
    const double high = chart.square ? wide : std::clamp(360 / rows, 4.0, 22.0);
    sheet.text(left, begin + 14, Anchor::kStart, "panel", fitted(panel.name, field, kTextSize));
    const double cells = begin + 22;
    draw_cells(sheet, panel.matrix, chart.levels, left, cells, wide, high);
    std::string cuts;
    for (const std::int64_t cut : panel.cuts) {
      cuts += "M" + px(left + static_cast<double>(cut) * wide) + " " + px(cells) + "v" +
              px(rows * high);
    }
    if (!cuts.empty()) sheet.path(cuts, "cut");
    draw_names(sheet, panel, left, cells, wide, high, room);
    const double end = cells + rows * high + 40;
    sheet.text(left + field, end, Anchor::kEnd, "axis", fitted(chart.x_label, field, kTextSize));
    bottom = std::max(bottom, end + 16);
  }
  return sheet.take(width, bottom);
}
}  // namespace switchyard::runtime::page
