// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/scale.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/page/chart/number.hpp"

namespace switchyard::runtime::page {
namespace {
/// A power of ten without the dust of std::pow for negative ones.
double power_of_ten(int exponent) {
  return exponent >= 0 ? std::pow(10.0, exponent) : 1 / std::pow(10.0, -exponent);
}

/// Two values apart, whatever came in.
std::pair<double, double> apart(double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high)) return {0, 1};
  if (low > high) std::swap(low, high);
  if (low < high) return {low, high};
  if (low == 0) return {0, 1};
  return low > 0 ? std::pair(0.0, 2 * low) : std::pair(2 * low, 0.0);
}
}  // namespace

double Scale::operator()(double value) const {
  const double share = log ? (std::log(value) - std::log(low)) / (std::log(high) - std::log(low))
                           : (value - low) / (high - low);
  return from + std::clamp(std::isfinite(share) ? share : 0.0, -1.0, 2.0) * (to - from);
}

double nice_step(double least) {
  if (!(least > 0) || !std::isfinite(least)) return 1;
  const int exponent = static_cast<int>(std::floor(std::log10(least)));
  for (int e = exponent; e <= exponent + 1; ++e) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double step = e >= 0 ? digit * power_of_ten(e) : digit / power_of_ten(-e);
      if (step >= least * (1 - 1e-12)) return step;
    }
  }
  return power_of_ten(exponent + 2);
}

std::vector<double> nice_ticks(double low, double high, int most) {
  const auto [first, last] = apart(low, high);
  double step = nice_step((last - first) / most);
  double begin = std::floor(first / step + 1e-9);
  double end = std::ceil(last / step - 1e-9);
  while (end - begin > most) {
    step = nice_step(step * 1.5);
    begin = std::floor(first / step + 1e-9);
    end = std::ceil(last / step - 1e-9);
  }
  std::vector<double> ticks;
  for (double i = begin; i <= end; ++i)
    ticks.push_back(step < 1 ? i / std::round(1 / step) : i * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high, int most) {
  if (!(low > 0) || !std::isfinite(high) || high < low) return {1, 10};
  const int begin = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int end = std::max(static_cast<int>(std::ceil(std::log10(high) - 1e-9)), begin + 1);
  const std::vector<std::vector<double>> digits{{1, 2, 5}, {1, 3}, {1}};
  for (const auto& each : digits) {
    std::vector<double> ticks;
    for (int e = begin; e <= end; ++e) {
      for (const double digit : each) ticks.push_back(digit * power_of_ten(e));
    }
    // Only what the values need, and one on either side of them.
    while (ticks.size() > 2 && ticks[1] <= low * (1 + 1e-9)) ticks.erase(ticks.begin());
    while (ticks.size() > 2 && ticks[ticks.size() - 2] >= high * (1 - 1e-9)) ticks.pop_back();
    if (static_cast<int>(ticks.size()) <= most + 1) return ticks;
  }
  const int step = (end - begin + most - 1) / most;
  std::vector<double> ticks;
  for (int e = begin; e < end + step; e += step) ticks.push_back(power_of_ten(e));
  return ticks;
}

std::string tick_name(const Axis& axis, std::size_t tick) {
  return tick < axis.names.size() ? axis.names[tick] : number(axis.ticks[tick]);
}

std::vector<std::size_t> readable_ticks(const Axis& axis, double size) {
  std::vector<std::size_t> kept;
  if (axis.ticks.empty()) return kept;
  const auto span = [&](std::size_t tick) {
    const double middle = axis.scale(axis.ticks[tick]);
    const double half = text_width(tick_name(axis, tick), size) / 2 + 4;
    return std::pair(middle - half, middle + half);
  };
  const std::size_t last = axis.ticks.size() - 1;
  double free_from = span(0).second;
  kept.push_back(0);
  for (std::size_t i = 1; i < last; ++i) {
    if (span(i).first < free_from || span(i).second > span(last).first) continue;
    kept.push_back(i);
    free_from = span(i).second;
  }
  if (last > 0 && span(last).first >= span(0).second) kept.push_back(last);
  return kept;
}
}  // namespace switchyard::runtime::page
