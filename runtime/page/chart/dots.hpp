// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Values of named things, one below the other: where two of them belong together, they are joined.
#include <string>
#include <vector>

#include "runtime/page/chart/sheet.hpp"

namespace switchyard::runtime::page {

struct DotMark {
  double value = 0;
  double low = 0;  ///< equal to the value: no span is drawn
  double high = 0;
  int colour = 0;
  bool made = false;  ///< simulated: hollow
  std::string tip = {};
};

struct DotRow {
  std::string name = {};
  std::vector<DotMark> marks = {};  ///< those that are not finite are left out
  std::string note = {};            ///< at the right end: "+3.2 %"
};

struct DotChart {
  std::string x_label = {};
  std::string note_label = {};  ///< above the notes
  std::vector<Key> keys = {};
  std::vector<DotRow> rows = {};
  bool joined = false;  ///< a line from the first mark of a row to its last
};

[[nodiscard]] Drawing draw_dots(const DotChart& chart, Layout layout);
}  // namespace switchyard::runtime::page
