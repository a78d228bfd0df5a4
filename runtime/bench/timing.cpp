// SPDX-License-Identifier: Apache-2.0
#include "runtime/bench/timing.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "comm/group/collective.hpp"

namespace switchyard::runtime::bench {
namespace {
void round(comm::Group& group, std::span<Candidate> candidates, std::int64_t repetition) {
  const std::size_t count = candidates.size();
  for (std::size_t i = 0; i < count; ++i) {
    Candidate& candidate = candidates[repetition % 2 == 0 ? i : count - 1 - i];
    if (candidate.prepare) candidate.prepare(repetition);
    comm::barrier(group);
    candidate.seconds.push_back(candidate.run());
  }
}
}  // namespace

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Summary summary(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(0.99 * static_cast<double>(values.size())));
  return {.min = values.front(),
          .median = median(values),
          .p99 = values[rank - 1],
          .max = values.back()};
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

double median_ratio(std::span<const double> over, std::span<const double> under) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(over.size(), under.size()); ++i) {
    if (under[i] > 0) ratios.push_back(over[i] / under[i]);
  }
  return median(std::move(ratios));
}

void alternate(comm::Group& group, std::span<Candidate> candidates, const Budget& budget) {
  for (std::int64_t i = 0; i < kWarmUp; ++i) round(group, candidates, i);
  std::vector<double> warm;
  for (Candidate& candidate : candidates) {
    warm.push_back(candidate.seconds.back());
    candidate.seconds.clear();
  }
  double once = 0;
  for (const double seconds : slowest(group, warm)) once += seconds;
  const double fits = std::min(budget.seconds / std::max(once, 1e-9), 1e9);
  const std::int64_t repetitions = std::clamp(static_cast<std::int64_t>(fits), budget.least,
                                              std::max(budget.least, budget.most));
  for (std::int64_t i = 0; i < repetitions; ++i) round(group, candidates, kWarmUp + i);
  for (Candidate& candidate : candidates) candidate.seconds = slowest(group, candidate.seconds);
}

std::vector<double> slowest(comm::Group& group, std::span<const double> mine) {
  std::vector<double> largest(mine.begin(), mine.end());
  for (const auto& theirs : comm::allgather_values<double>(group, mine)) {
    for (std::size_t i = 0; i < largest.size(); ++i) largest[i] = std::max(largest[i], theirs[i]);
  }
  return largest;
}

double sum_over_ranks(comm::Group& group, double mine) {
  double sum = 0;
  for (const auto& rank : comm::allgather_values<double>(group, std::span(&mine, 1))) {
    sum += rank.front();
  }
  return sum;
}

void Steadiness::probe() {
  constexpr int kSteps = 500'000;
  const volatile double start = 1.0;  // volatile: or the chain is worked out by the compiler
  double x = start;
  const Stopwatch watch;
  for (int i = 0; i < kSteps; ++i) x = x * 0.9999999 + 1e-7;
  const volatile double end = x;
  seconds_.push_back(watch.seconds());
  static_cast<void>(end);
}

Summary Steadiness::result(comm::Group& group) const {
  std::vector<double> all;
  for (const auto& theirs : comm::allgather_values<double>(group, seconds_)) {
    all.insert(all.end(), theirs.begin(), theirs.end());
  }
  return summary(std::move(all));
}

double spread(const Summary& probes) {
  return probes.median > 0 ? (probes.p99 - probes.min) / probes.median : 0;
}
}  // namespace switchyard::runtime::bench
