// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/sheet.hpp"

#include <algorithm>

#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"

namespace switchyard::runtime::page {
namespace {
std::string view_box(const Drawing& drawing) {
  return "0 0 " + px(drawing.width) + " " + px(drawing.height);
}

std::string shape(double x, double y, int kind) {
  const auto at = [](double a, double b) { return px(a) + " " + px(b); };
  constexpr double r = 4.6;
  switch (kind % 4) {
    case 1:
      return "M" + at(x - 4, y - 4) + "h8v8h-8z";
    case 2:
      return "M" + at(x, y - 5.4) + "L" + at(x + 5.4, y) + "L" + at(x, y + 5.4) + "L" +
             at(x - 5.4, y) + "z";
    case 3:
      return "M" + at(x, y - 5) + "L" + at(x + 5, y + 4) + "L" + at(x - 5, y + 4) + "z";
    default:
      return "M" + at(x - r, y) + "a4.6 4.6 0 1 0 9.2 0a4.6 4.6 0 1 0 -9.2 0z";
  }
}
}  // namespace

std::string inline_svg(const Drawing& drawing, const Words& words, Layout layout) {
  const std::string side = layout == Layout::kWide ? "wide" : "narrow";
  const std::string title = words.id + "-" + side + "-t";
  const std::string description = words.id + "-" + side + "-d";
  Markup svg;
  svg.open("svg", {{"class", "chart " + side},
                   {"viewBox", view_box(drawing)},
                   {"width", drawing.width},
                   {"height", drawing.height},
                   {"role", "img"},
                   {"aria-labelledby", title + " " + description}});
  svg.element("title", {{"id", title}}, words.title);
  svg.element("desc", {{"id", description}}, words.description);
  svg.raw(drawing.body).close();
  return svg.take();
}

std::string svg_file(const Drawing& drawing, const Words& words) {
  constexpr double kMargin = 12;
  const Drawing framed{
      .width = drawing.width + 2 * kMargin, .height = drawing.height + 2 * kMargin, .body = {}};
  Markup svg;
  svg.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- Made by switchyard report -->\n");
  svg.open("svg", {{"xmlns", "http://www.w3.org/2000/svg"},
                   {"viewBox", view_box(framed)},
                   {"width", framed.width},
                   {"height", framed.height},
                   {"role", "img"},
                   {"aria-labelledby", "t d"}});
  svg.element("title", {{"id", "t"}}, words.title);
  svg.element("desc", {{"id", "d"}}, words.description);
  svg.open("style")
      .raw("svg{" + variables(light_theme()) + "}@media (prefers-color-scheme:dark){svg{" +
           variables(dark_theme()) + "}}.ground{fill:var(--ground)}" + chart_style())
      .close();
  svg.empty("rect", {{"class", "ground"}, {"width", framed.width}, {"height", framed.height}});
  svg.open("g", {{"class", "chart"},
                 {"transform", "translate(" + px(kMargin) + " " + px(kMargin) + ")"}});
  svg.raw(drawing.body).close().close();
  return svg.take();
}

Sheet& Sheet::text(double x, double y, Anchor anchor, std::string_view classes,
                   std::string_view text) {
  std::vector<Attribute> attributes{{"x", x}, {"y", y}};
  if (!classes.empty()) attributes.emplace_back("class", std::string(classes));
  if (anchor == Anchor::kMiddle) attributes.emplace_back("text-anchor", "middle");
  if (anchor == Anchor::kEnd) attributes.emplace_back("text-anchor", "end");
  markup_.element("text", attributes, text);
  return *this;
}

Sheet& Sheet::line(double x1, double y1, double x2, double y2, std::string_view classes) {
  return path("M" + px(x1) + " " + px(y1) + "L" + px(x2) + " " + px(y2), classes);
}

Sheet& Sheet::rect(double x, double y, double width, double height, std::string_view classes,
                   std::string_view tip) {
  const std::vector<Attribute> attributes{{"class", std::string(classes)},
                                          {"x", x},
                                          {"y", y},
                                          {"width", std::max(width, 0.0)},
                                          {"height", std::max(height, 0.0)}};
  if (tip.empty()) {
    markup_.empty("rect", attributes);
  } else {
    markup_.open("rect", attributes).element("title", {}, tip).close();
  }
  return *this;
}

Sheet& Sheet::path(std::string_view d, std::string_view classes) {
  markup_.empty("path", {{"class", std::string(classes)}, {"d", std::string(d)}});
  return *this;
}

Sheet& Sheet::mark(double x, double y, int kind, std::string_view classes, std::string_view tip) {
  const std::vector<Attribute> attributes{{"class", "dot " + std::string(classes)},
                                          {"d", shape(x, y, kind)}};
  if (tip.empty()) {
    markup_.empty("path", attributes);
  } else {
    markup_.open("path", attributes).element("title", {}, tip).close();
  }
  return *this;
}

Drawing Sheet::take(double width, double height) {
  return {.width = width, .height = height, .body = markup_.take()};
}

double tick_room(const Axis& y) {
  double room = 0;
  for (std::size_t i = 0; i < y.ticks.size(); ++i) {
    room = std::max(room, text_width(tick_name(y, i), kTickSize));
  }
  return room + 8;
}

void draw_axes(Sheet& sheet, const Field& field, const Axis& x, const Axis& y) {
  for (std::size_t i = 0; i < y.ticks.size(); ++i) {
    const double at = y.scale(y.ticks[i]);
    sheet.line(field.left, at, field.right, at, i == 0 ? "rim" : "grid");
    sheet.text(field.left - 7, at + 4.3, Anchor::kEnd, "tick", tick_name(y, i));
  }
  for (const std::size_t i : readable_ticks(x, kTickSize)) {
    const double at = x.scale(x.ticks[i]);
    sheet.line(at, field.bottom, at, field.bottom + 5, "rim");
    sheet.text(at, field.bottom + 19, Anchor::kMiddle, "tick", tick_name(x, i));
  }
  sheet.text(field.right, field.bottom + 39, Anchor::kEnd, "axis", x.label);
  sheet.text(0, field.top - 14, Anchor::kStart, "axis", y.label);
}

double draw_keys(Sheet& sheet, const std::vector<Key>& keys, double left, double top,
                 double width) {
  constexpr double kLine = 20;
  double x = left;
  double y = top + 13;
  for (const Key& key : keys) {
    const double sample = key.mark < 0 ? 18 : 34;
    const std::string name = fitted(key.name, width - sample, kTextSize);
    const double wide = sample + text_width(name, kTextSize) + 14;
    if (x > left && x + wide - 14 > left + width) {
      x = left;
      y += kLine;
    }
    const std::string colour = series_class(key.colour);
    const std::string fill = "f" + colour.substr(1);
    if (key.mark < 0) {
      sheet.rect(x, y - 10, 12, 12, key.classes.empty() ? fill : key.classes);
    } else {
      if (!key.classes.empty()) {
        sheet.line(x, y - 4, x + 26, y - 4, key.classes);
      } else {
        sheet.line(x, y - 4, x + 26, y - 4, "curve " + colour + (key.made ? " made" : ""));
        sheet.mark(x + 13, y - 4, key.mark, colour + " " + (key.made ? "hollow" : fill));
      }
    }
    sheet.text(x + sample, y, Anchor::kStart, "", name);
    x += wide;
  }
  return keys.empty() ? 0 : y + 7 - top;
}
}  // namespace switchyard::runtime::page
