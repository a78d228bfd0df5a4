// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/curves.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"

namespace switchyard::runtime::page {
namespace {
/// Smallest and largest of what has been seen.
struct Span {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value, bool log) {
    if (!std::isfinite(value) || (log && value <= 0)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

bool shown(const CurveChart& chart, double x, double y) {
  return std::isfinite(x) && std::isfinite(y) && (!chart.log_x || x > 0) && (!chart.log_y || y > 0);
}

/// Axes around all points and laws; the ideal line is cut at their upper end.
std::pair<Axis, Axis> axes_of(const CurveChart& chart) {
  Span xs;
  Span ys;
  for (const Curve& curve : chart.curves) {
    for (const CurvePoint& point : curve.points) {
      if (!shown(chart, point.x, point.y)) continue;
      xs.add(point.x, chart.log_x);
      for (const double y : {point.y, point.low, point.high}) ys.add(y, chart.log_y);
    }
  }
  for (const auto& [x, y] : chart.ideal) {
    if (shown(chart, x, y)) ys.add(y, chart.log_y);
  }
  if (!chart.log_y && chart.y_from_zero) ys.add(0, false);
  Axis x{.label = chart.x_label, .scale = {}, .ticks = chart.x_ticks, .names = {}};
  Axis y{.label = chart.y_label, .scale = {}, .ticks = {}, .names = {}};
  y.ticks = chart.log_y ? log_ticks(ys.low, ys.high, 6) : nice_ticks(ys.low, ys.high, 6);
  y.scale = {.low = y.ticks.front(), .high = y.ticks.back(), .log = chart.log_y};
  if (x.ticks.empty()) {
    x.ticks = chart.log_x ? log_ticks(xs.low, xs.high, 8) : nice_ticks(xs.low, xs.high, 8);
    x.scale = {.low = x.ticks.front(), .high = x.ticks.back(), .log = chart.log_x};
  } else if (x.ticks.size() == 1) {  // one value stands in the middle
    const double only = x.ticks.front();
    x.scale = chart.log_x ? Scale{.low = only / 2, .high = only * 2, .log = true}
                          : Scale{.low = only - 1, .high = only + 1};
  } else {
    x.scale = {.low = x.ticks.front(), .high = x.ticks.back(), .log = chart.log_x};
  }
  return {x, y};
}

void draw_line(Sheet& sheet, const CurveChart& chart, const Axis& x, const Axis& y,
               const Line& line, const std::string& classes) {
  std::string d;
  for (const auto& [a, b] : line) {
    if (!shown(chart, a, b)) continue;
    d += (d.empty() ? "M" : "L") + px(x.scale(a)) + " " + px(y.scale(b));
  }
  if (!d.empty()) sheet.path(d, classes);
}

void draw_curve(Sheet& sheet, const CurveChart& chart, const Axis& x, const Axis& y, int index,
                const Curve& curve) {
  const std::string colour = series_class(curve.colour);
  const std::string fill = curve.made ? "hollow" : "f" + colour.substr(1);
  if (!curve.law.empty()) draw_line(sheet, chart, x, y, curve.law, "law " + colour);
  Line line;
  for (const CurvePoint& point : curve.points) line.emplace_back(point.x, point.y);
  if (curve.law.empty()) {
    draw_line(sheet, chart, x, y, line, "curve " + colour + (curve.made ? " made" : ""));
  }
  for (const CurvePoint& point : curve.points) {
    if (!chart.marks || !shown(chart, point.x, point.y)) continue;
    const double at = x.scale(point.x);
    if (point.high > point.low && (!chart.log_y || point.low > 0)) {
      const double low = y.scale(point.low);
      const double high = y.scale(point.high);
      sheet.path("M" + px(at) + " " + px(low) + "V" + px(high) + "M" + px(at - 4) + " " + px(low) +
                     "h8M" + px(at - 4) + " " + px(high) + "h8",
                 "bar " + colour);
    }
    sheet.mark(at, y.scale(point.y), index, colour + " " + fill, point.tip);
  }
}

/// A name beside the end of a curve.
struct EndName {
  std::string name;
  std::string classes;
  double y = 0;
};

/// Moves names apart, keeping their order, as little as it takes and within the field.
void spread(std::vector<EndName>& names, double top, double bottom) {
  constexpr double kLine = 17;
  std::ranges::stable_sort(names, {}, &EndName::y);
  double least = top;
  for (EndName& name : names) {
    name.y = std::max(name.y, least);
    least = name.y + kLine;
  }
  double most = bottom;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    name->y = std::min(name->y, most);
    most = name->y - kLine;
  }
}

std::vector<EndName> end_names(const CurveChart& chart, const Axis& y) {
  std::vector<EndName> names;
  for (const Curve& curve : chart.curves) {
    const auto last =
        std::find_if(curve.points.rbegin(), curve.points.rend(),
                     [&](const CurvePoint& point) { return shown(chart, point.x, point.y); });
    if (last == curve.points.rend()) continue;
    names.push_back({.name = curve.name,
                     .classes = "name " + series_class(curve.colour),
                     .y = y.scale(last->y)});
  }
  if (!chart.ideal.empty()) {
    names.push_back(
        {.name = chart.ideal_name, .classes = "axis", .y = y.scale(chart.ideal.back().second)});
  }
  return names;
}

std::vector<Key> keys_of(const CurveChart& chart) {
  std::vector<Key> keys;
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    keys.push_back({.name = chart.curves[i].name,
                    .colour = chart.curves[i].colour,
                    .mark = static_cast<int>(i),
                    .made = chart.curves[i].made,
                    .classes = chart.marks ? "" : "curve " + series_class(chart.curves[i].colour)});
  }
  if (!chart.ideal.empty()) {
    keys.push_back(
        {.name = chart.ideal_name, .colour = 0, .mark = 0, .made = false, .classes = "ideal"});
  }
  return keys;
}
}  // namespace

Drawing draw_curves(const CurveChart& chart, Layout layout) {
  constexpr std::size_t kMostNames = 7;  // beside the ends
  const double width = width_of(layout);
  auto [x, y] = axes_of(chart);
  Sheet sheet;
  double widest = 0;
  for (const Curve& curve : chart.curves) {
    widest = std::max(widest, text_width(curve.name, kTextSize) * 1.06);
  }
  if (!chart.ideal.empty()) {
    widest = std::max(widest, text_width(chart.ideal_name, kTextSize));
  }
  const bool beside = layout == Layout::kWide && widest <= 220 && chart.curves.size() < kMostNames;
  double top = 26;
  if (!beside) top += draw_keys(sheet, keys_of(chart), 0, 0, width) + 6;
  const Field field{.left = tick_room(y),
                    .top = top,
                    .right = width - (beside ? widest + 16 : 14),
                    .bottom = top + (layout == Layout::kWide ? 290 : 220)};
  x.scale.from = field.left + 10;
  x.scale.to = field.right - 10;
  y.scale.from = field.bottom;
  y.scale.to = field.top;
  draw_axes(sheet, field, x, y);
  draw_line(sheet, chart, x, y, chart.ideal, "ideal");
  for (std::size_t i = 0; i < chart.curves.size(); ++i) {
    draw_curve(sheet, chart, x, y, static_cast<int>(i), chart.curves[i]);
  }
  if (beside) {
    std::vector<EndName> names = end_names(chart, y);
    spread(names, field.top, field.bottom);
    for (const EndName& name : names) {
      sheet.text(field.right + 8, name.y + 4.5, Anchor::kStart, name.classes, name.name);
    }
  }
  return sheet.take(width, field.bottom + 46);
}
}  // namespace switchyard::runtime::page
