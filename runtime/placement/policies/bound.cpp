// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/policies/bound.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
/// Copies that are needed so that none has more than `most` rows.
double copies_needed(std::span<const double> rows, double most) {
  double copies = 0;
  for (const double each : rows) copies += std::max(1.0, std::ceil(each / most));
  return copies;
}

/// From below, the smallest number of rows a copy that the slots allow.
double copies_bound(std::span<const double> rows, double floor, double slots) {
  const double top = *std::max_element(rows.begin(), rows.end());
  if (top <= floor || copies_needed(rows, floor) <= slots) return floor;
  double too_few = floor;
  double enough = top;
  for (int i = 0; i < 60; ++i) {
    const double middle = (too_few + enough) / 2;
    (copies_needed(rows, middle) <= slots ? enough : too_few) = middle;
  }
  return too_few;
}

/// At most `spare` experts have a second copy. Of the others, the first j x ranks + 1 by falling
/// load put j + 1 on some rank.
double crowding_bound(std::vector<double> falling, std::int64_t ranks, std::int64_t spare) {
  const auto experts = static_cast<std::int64_t>(falling.size());
  double bound = 0;
  for (std::int64_t j = 1; spare + j * ranks < experts; ++j) {
    const auto last = falling.begin() + spare + j * ranks;
    bound = std::max(bound, std::accumulate(last - j, last + 1, 0.0));
  }
  return bound;
}
}  // namespace

double least_worst(std::span<const double> rows, const MachineShape& shape) {
  const double ranks = shape.ranks;
  const double mean = std::accumulate(rows.begin(), rows.end(), 0.0) / ranks;
  if (mean <= 0) return 0;
  const auto experts = static_cast<std::int64_t>(rows.size());
  const std::int64_t slots = std::min(shape.slots, experts) * shape.ranks;
  std::vector<double> falling(rows.begin(), rows.end());
  std::sort(falling.begin(), falling.end(), std::greater<>());
  return std::max(copies_bound(rows, mean, static_cast<double>(slots)),
                  crowding_bound(std::move(falling), shape.ranks, slots - experts));
}
}  // namespace switchyard::runtime
