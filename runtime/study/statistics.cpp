// SPDX-License-Identifier: Apache-2.0
#include "runtime/study/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <random>

namespace switchyard::runtime::study {
namespace {
/// P(at most `most` of n tosses of a coin are heads).
double heads_at_most(std::size_t most, std::size_t n) {
  const auto tosses = static_cast<double>(n);
  double sum = 0;
  double log_ways = 0;  // of choosing i of n
  for (std::size_t i = 0; i <= most; ++i) {
    if (i > 0) log_ways += std::log((tosses - static_cast<double>(i) + 1) / static_cast<double>(i));
    sum += std::exp(log_ways - tosses * std::log(2.0));
  }
  return sum;
}

double median_of_sorted(std::span<const double> sorted) {
  const std::size_t n = sorted.size();
  if (n == 0) return 0;
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double median_drawn(std::span<const double> values, std::mt19937_64& random,
                    std::vector<double>& drawn) {
  drawn.clear();
  // The remainder favours nothing that could be seen: there are far fewer values than numbers.
  for (std::size_t i = 0; i < values.size(); ++i) drawn.push_back(values[random() % values.size()]);
  std::ranges::sort(drawn);
  return median_of_sorted(drawn);
}
}  // namespace

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return median_of_sorted(values);
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return values[std::min(index, values.size() - 1)];
}

Estimate median_interval(std::vector<double> values, double confidence) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const std::size_t n = values.size();
  std::size_t left_out = 0;  // on each side
  while (2 * (left_out + 1) < n && 1 - 2 * heads_at_most(left_out + 1, n) >= confidence) ++left_out;
  return {.median = median_of_sorted(values),
          .low = values[left_out],
          .high = values[n - 1 - left_out],
          .coverage = n == 1 ? 0 : 1 - 2 * heads_at_most(left_out, n)};
}

Estimate ratio_interval(std::span<const double> over, std::span<const double> under,
                        double confidence, std::uint64_t seed) {
  if (over.empty() || under.empty()) return {};
  const double ratio =
      median_of({over.begin(), over.end()}) / median_of({under.begin(), under.end()});
  if (over.size() == 1 && under.size() == 1) return {.median = ratio, .low = ratio, .high = ratio};
  std::mt19937_64 random(seed);
  std::vector<double> drawn;
  std::vector<double> ratios(kResamples);
  for (double& one : ratios) {
    const double top = median_drawn(over, random, drawn);
    one = top / median_drawn(under, random, drawn);
  }
  return {.median = ratio,
          .low = quantile(ratios, (1 - confidence) / 2),
          .high = quantile(ratios, (1 + confidence) / 2),
          .coverage = confidence};
}
}  // namespace switchyard::runtime::study
