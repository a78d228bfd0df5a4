// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Lying bars made of parts.
#include <string>
#include <vector>

#include "runtime/page/chart/sheet.hpp"

namespace switchyard::runtime::page {

struct BarPart {
  std::string name = {};
  int colour = 0;
  double value = 0;
  double pale = 0;  ///< of the value, drawn paler: the time that a phase waits
  std::string tip = {};
};

struct StackedBar {
  std::string name = {};
  std::vector<BarPart> parts = {};
  std::string total = {};  ///< behind the end
};

struct BarChart {
  std::string x_label = {};
  std::vector<StackedBar> bars = {};
};

/// Names stand above their bars, values in the parts that have room for them.
[[nodiscard]] Drawing draw_bars(const BarChart& chart, Layout layout);
}  // namespace switchyard::runtime::page
