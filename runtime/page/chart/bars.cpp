// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/bars.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"

namespace switchyard::runtime::page {
namespace {
double length_of(const StackedBar& bar) {
  double length = 0;
  for (const BarPart& part : bar.parts) {
    if (std::isfinite(part.value)) length += std::max(part.value, 0.0);
  }
  return length;
}

/// Each part's name once, in the order in which they come first.
std::vector<Key> part_keys(const BarChart& chart) {
  std::vector<Key> keys;
  bool pale = false;
  for (const StackedBar& bar : chart.bars) {
    for (const BarPart& part : bar.parts) {
      pale = pale || part.pale > 0;
      if (std::ranges::find(keys, part.name, &Key::name) != keys.end()) continue;
      keys.push_back(
          {.name = part.name, .colour = part.colour, .mark = -1, .made = false, .classes = ""});
    }
  }
  if (pale) {
    keys.push_back({.name = "of it, waiting for other ranks",
                    .colour = 5,
                    .mark = -1,
                    .made = false,
                    .classes = "f5 waits"});
  }
  return keys;
}

void draw_bar(Sheet& sheet, const StackedBar& bar, const Scale& scale, double top, double high) {
  double sum = 0;
  for (const BarPart& part : bar.parts) {
    if (!std::isfinite(part.value) || part.value <= 0) continue;
    const double begin = scale(sum);
    const double working = scale(sum + part.value - std::clamp(part.pale, 0.0, part.value));
    const double end = scale(sum + part.value);
    const std::string fill = "f" + series_class(part.colour).substr(1);
    sheet.rect(begin, top, std::max(working - begin, 0.0), high, fill, part.tip);
    if (end > working) sheet.rect(working, top, end - working, high, fill + " waits", part.tip);
    sheet.line(end, top, end, top + high, "cut");
    // Letters need a ground of one colour.
    const std::string value = number(part.value, 3);
    if (working - begin > text_width(value, kTickSize) + 10) {
      sheet.text((begin + working) / 2, top + high / 2 + 4.4, Anchor::kMiddle, "inside", value);
    }
    sum += part.value;
  }
  sheet.text(scale(sum) + 8, top + high / 2 + 4.4, Anchor::kStart, "", bar.total);
}
}  // namespace

Drawing draw_bars(const BarChart& chart, Layout layout) {
  const double width = width_of(layout);
  constexpr double kBar = 24;
  double longest = 0;
  double total_room = 0;
  for (const StackedBar& bar : chart.bars) {
    longest = std::max(longest, length_of(bar));
    total_room = std::max(total_room, text_width(bar.total, kTextSize));
  }
  Sheet sheet;
  double top = draw_keys(sheet, part_keys(chart), 0, 0, width) + 14;
  Axis axis{.label = chart.x_label, .scale = {}, .ticks = nice_ticks(0, longest, 6), .names = {}};
  axis.scale = {
      .low = 0, .high = longest > 0 ? longest : 1, .from = 0.5, .to = width - total_room - 12};
  for (const StackedBar& bar : chart.bars) {
    sheet.text(0, top + 13, Anchor::kStart, "", fitted(bar.name, width, kTextSize));
    draw_bar(sheet, bar, axis.scale, top + 21, kBar);
    top += kBar + 21 + 13;
  }
  std::erase_if(axis.ticks, [&](double tick) { return axis.scale(tick) > width - 10; });
  for (const std::size_t i : readable_ticks(axis, kTickSize)) {
    const double x = axis.scale(axis.ticks[i]);
    sheet.line(x, top, x, top + 5, "rim");
    sheet.text(x, top + 19, i == 0 ? Anchor::kStart : Anchor::kMiddle, "tick", tick_name(axis, i));
  }
  sheet.line(0, top, width - 1, top, "rim");
  sheet.text(width, top + 38, Anchor::kEnd, "axis", chart.x_label);
  return sheet.take(width, top + 44);
}
}  // namespace switchyard::runtime::page
