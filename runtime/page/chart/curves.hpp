// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Curves through measured points, with the span that each value has.
#include <string>
#include <utility>
#include <vector>

#include "runtime/page/chart/sheet.hpp"

namespace switchyard::runtime::page {

struct CurvePoint {
  double x = 0;
  double y = 0;
  double low = 0;  ///< equal to y: no span is drawn
  double high = 0;
  std::string tip = {};
};

using Line = std::vector<std::pair<double, double>>;

struct Curve {
  std::string name = {};
  int colour = 0;
  bool made = false;                    ///< simulated: dashed, with hollow marks
  std::vector<CurvePoint> points = {};  ///< by rising x; those that are not finite are left out
  Line law = {};                        ///< a fitted one, drawn thin
};

struct CurveChart {
  std::string x_label = {};
  std::string y_label = {};
  std::vector<Curve> curves = {};
  bool log_x = false;
  bool log_y = false;
  bool y_from_zero = true;           ///< without log_y
  std::vector<double> x_ticks = {};  ///< empty: nice ones
  Line ideal = {};
  std::string ideal_name = "ideal";
  bool marks = true;  ///< points have marks; without: many points, a thin line
};

/// Names stand at the ends of curves where there is room, above the chart elsewhere. A chart
/// without points has axes only.
[[nodiscard]] Drawing draw_curves(const CurveChart& chart, Layout layout);
}  // namespace switchyard::runtime::page
