// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/dots.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"

namespace switchyard::runtime::page {
namespace {
/// Marks of a joined row share a line; others have one each, so that none hides another.
double row_height(const DotChart& chart, const DotRow& row) {
  const std::size_t lines = chart.joined ? 1 : std::max<std::size_t>(row.marks.size(), 1);
  return 16 + 13 * static_cast<double>(lines - 1);
}

void draw_marks(Sheet& sheet, const DotChart& chart, const DotRow& row, const Scale& scale,
                double y) {
  if (chart.joined && row.marks.size() > 1 && std::isfinite(row.marks.front().value) &&
      std::isfinite(row.marks.back().value)) {
    sheet.line(scale(row.marks.front().value), y, scale(row.marks.back().value), y, "rim");
  }
  for (std::size_t i = 0; i < row.marks.size(); ++i) {
    const DotMark& mark = row.marks[i];
    const double at = y + (chart.joined ? 0 : 13 * static_cast<double>(i));
    if (!std::isfinite(mark.value)) continue;
    const std::string colour = series_class(mark.colour);
    if (mark.high > mark.low) {
      const std::string end = px(at - 4) + "v8";
      sheet.path("M" + px(scale(mark.low)) + " " + px(at) + "H" + px(scale(mark.high)) + "M" +
                     px(scale(mark.low)) + " " + end + "M" + px(scale(mark.high)) + " " + end,
                 "bar " + colour);
    }
    const std::string fill = mark.made ? "hollow" : "f" + colour.substr(1);
    sheet.mark(scale(mark.value), at, chart.joined ? static_cast<int>(i) : mark.colour,
               colour + " " + fill, mark.tip);
  }
}
}  // namespace

Drawing draw_dots(const DotChart& chart, Layout layout) {
  const double width = width_of(layout);
  const bool above = layout == Layout::kNarrow;  // names stand above their rows
  double name_room = 0;
  double note_room = chart.note_label.empty() ? 0 : text_width(chart.note_label, kTextSize) + 10;
  double most = 0;
  double least = std::numeric_limits<double>::infinity();
  for (const DotRow& row : chart.rows) {
    name_room = std::max(name_room, text_width(row.name, kTextSize) + 16);
    if (!row.note.empty()) note_room = std::max(note_room, text_width(row.note, kTextSize) + 18);
    for (const DotMark& mark : row.marks) {
      if (!std::isfinite(mark.value)) continue;
      most = std::max({most, mark.value, mark.high});
      least = std::min({least, mark.value, mark.low});
    }
  }
  name_room = above ? 20 : std::min(name_room, 0.45 * width);
  Sheet sheet;
  double top = draw_keys(sheet, chart.keys, 0, 0, width) + 8;
  if (!chart.note_label.empty()) {
    sheet.text(width, top + 13, Anchor::kEnd, "axis", chart.note_label);
    top += 20;
  }
  // Where values are far apart, their ratios are what can be seen.
  const bool log = least > 0 && most > 20 * least;
  Axis axis{
      .label = chart.x_label + (log ? ", by powers" : ""),
      .scale = {},
      .ticks = log ? log_ticks(least, most, above ? 4 : 6) : nice_ticks(0, most, above ? 4 : 6),
      .names = {}};
  axis.scale = {.low = axis.ticks.front(),
                .high = axis.ticks.back(),
                .from = name_room,
                .to = width - std::max(note_room, 22.0),
                .log = log};
  double bottom = top;
  for (const DotRow& row : chart.rows) bottom += row_height(chart, row) + (above ? 28 : 14);
  for (const std::size_t i : readable_ticks(axis, kTickSize)) {
    const double x = axis.scale(axis.ticks[i]);
    sheet.line(x, top, x, bottom, i == 0 ? "rim" : "grid");
    sheet.text(x, bottom + 18, Anchor::kMiddle, "tick", tick_name(axis, i));
  }
  double y = top;
  for (const DotRow& row : chart.rows) {
    if (above) sheet.text(0, y + 14, Anchor::kStart, "", fitted(row.name, width - 20, kTextSize));
    const double middle = y + (above ? 30 : 15);
    if (!above) {
      sheet.text(0, middle + 4.5, Anchor::kStart, "", fitted(row.name, name_room - 12, kTextSize));
    }
    draw_marks(sheet, chart, row, axis.scale, middle);
    if (!row.note.empty()) sheet.text(width, middle + 4.5, Anchor::kEnd, "name", row.note);
    y += row_height(chart, row) + (above ? 28 : 14);
  }
  sheet.text(axis.scale.to, bottom + 38, Anchor::kEnd, "axis", axis.label);
  return sheet.take(width, bottom + 44);
}
}  // namespace switchyard::runtime::page
