// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a figure is drawn on, and how it becomes part of a page or a file of its own.
#include <string>
#include <string_view>
#include <vector>

#include "runtime/page/chart/markup.hpp"
#include "runtime/page/chart/scale.hpp"

namespace switchyard::runtime::page {

/// Every figure is drawn twice, since letters that shrink with a picture cannot be read on a phone.
enum class Layout { kWide, kNarrow };
/// In pixels.
[[nodiscard]] constexpr double width_of(Layout layout) {
  return layout == Layout::kWide ? 760 : 320;
}

/// A finished figure: the inside of an <svg>.
struct Drawing {
  double width = 0;
  double height = 0;
  std::string body = {};
};

/// What a figure is, for those who do not see it.
struct Words {
  std::string id = {};  ///< of the figure; letters, digits and '-'
  std::string title = {};
  std::string description = {};
};

/// For a page that has chart_style() and a theme.
[[nodiscard]] std::string inline_svg(const Drawing& drawing, const Words& words, Layout layout);
/// A file of its own, with both themes, by the reader's preference.
[[nodiscard]] std::string svg_file(const Drawing& drawing, const Words& words);

enum class Anchor { kStart, kMiddle, kEnd };

/// Marks on a figure. Places are in pixels from the upper left corner.
class Sheet {
 public:
  Sheet& text(double x, double y, Anchor anchor, std::string_view classes, std::string_view text);
  Sheet& line(double x1, double y1, double x2, double y2, std::string_view classes);
  /// @param tip  what pointing at it shows; empty: nothing
  Sheet& rect(double x, double y, double width, double height, std::string_view classes,
              std::string_view tip = {});
  Sheet& path(std::string_view d, std::string_view classes);
  /// One of four shapes, by `kind`: circle, square, diamond, triangle.
  Sheet& mark(double x, double y, int kind, std::string_view classes, std::string_view tip = {});
  [[nodiscard]] Drawing take(double width, double height);

 private:
  Markup markup_;
};

/// Where the points of a chart go.
struct Field {
  double left = 0, top = 0, right = 0, bottom = 0;
};

/// Grid, ticks and names of both axes; the name of y stands above, where it can be read without
/// turning the head.
void draw_axes(Sheet& sheet, const Field& field, const Axis& x, const Axis& y);
/// Room that the names of an upright axis take to its left.
[[nodiscard]] double tick_room(const Axis& y);

/// An entry of a legend.
struct Key {
  std::string name = {};
  int colour = 0;
  int mark = -1;             ///< shape; -1: a filled square of its colour
  bool made = false;         ///< hollow and dashed: simulated
  std::string classes = {};  ///< instead of a colour's
};
/// Draws keys from left to right, line after line. @return  the height that this took
double draw_keys(Sheet& sheet, const std::vector<Key>& keys, double left, double top, double width);
}  // namespace switchyard::runtime::page
