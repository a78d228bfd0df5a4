// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From values to pixels, and where an axis has its ticks.
#include <string>
#include <vector>

namespace switchyard::runtime::page {

/// Values from low to high become pixels from `from` to `to`, evenly or by their logarithm.
struct Scale {
  double low = 0;
  double high = 1;
  double from = 0;
  double to = 1;
  bool log = false;

  [[nodiscard]] double operator()(double value) const;
};

/// 1, 2 or 5 times a power of ten: the smallest that is not below `least`.
[[nodiscard]] double nice_step(double least);
/// Multiples of a nice step, from the last at or below `low` to the first at or above `high`; at
/// most `most` + 1 of them. Of one value, or of none that is finite: a span around it.
[[nodiscard]] std::vector<double> nice_ticks(double low, double high, int most);
/// Powers of ten from at or below `low` to at or above `high`; with 2 and 5 times them, or 3, where
/// they are few.
[[nodiscard]] std::vector<double> log_ticks(double low, double high, int most);

/// An axis: its scale ends at its first and last tick.
struct Axis {
  std::string label;  ///< with its unit: "step time (ms)"
  Scale scale;
  std::vector<double> ticks;
  std::vector<std::string> names;  ///< of the ticks; empty: as numbers
};

/// Those of `ticks` whose names, `width` wide each, stand clear of each other; the ends first.
[[nodiscard]] std::vector<std::size_t> readable_ticks(const Axis& axis, double size);
[[nodiscard]] std::string tick_name(const Axis& axis, std::size_t tick);
}  // namespace switchyard::runtime::page
