// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How every bench measures: candidates take turns, a repetition lasts as long as its slowest rank,
/// and a probe of the processor before, between and after says how steady the machine was.
#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::runtime::bench {

class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()) {}
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_;
};

/// Seconds of processor time of the calling thread.
[[nodiscard]] double thread_seconds();

/// Rounds of `alternate` before those that count.
inline constexpr std::int64_t kWarmUp = 2;

/// What many repetitions come to.
struct Summary {
  double min = 0;
  double median = 0;
  double p99 = 0;  ///< the smallest that 99 % do not exceed: of fewer than 100 the largest
  double max = 0;
};
[[nodiscard]] Summary summary(std::vector<double> values);
[[nodiscard]] double median(std::vector<double> values);
/// Median over repetitions of over[i] / under[i], which were neighbours in time.
[[nodiscard]] double median_ratio(std::span<const double> over, std::span<const double> under);

/// How long to measure: `seconds` for all candidates together, within these repetitions of each.
struct Budget {
  double seconds = 1;
  std::int64_t least = 5;
  std::int64_t most = 1000;
};

/// One of the things that are compared.
struct Candidate {
  std::string name;
  /// Does it once and returns its seconds on this rank. All ranks begin together.
  std::function<double()> run;
  /// Before every run, unless empty: what is not timed. Counts up from 0 through the warm-up.
  std::function<void(std::int64_t repetition)> prepare = {};
  std::vector<double> seconds = {};  ///< of each repetition, of its slowest rank
};

/// Takes turns until the budget is spent, every other round in reverse order. All ranks begin a
/// turn together and agree on how many there are. Two rounds warm up and are not counted.
/// Collective.
void alternate(comm::Group& group, std::span<Candidate> candidates, const Budget& budget);

/// The largest over ranks, entry by entry. Collective; the same length everywhere.
[[nodiscard]] std::vector<double> slowest(comm::Group& group, std::span<const double> mine);
[[nodiscard]] double sum_over_ranks(comm::Group& group, double mine);

/// Times a fixed chain of arithmetic (about a millisecond, no memory) again and again: what moves
/// here is the machine, by its clock or because it works for others.
class Steadiness {
 public:
  void probe();
  /// Of all ranks together, in seconds. Collective.
  [[nodiscard]] Summary result(comm::Group& group) const;

 private:
  std::vector<double> seconds_;
};
/// 0.1: from the fastest probe to the 99th of 100 it is a tenth of the median.
[[nodiscard]] double spread(const Summary& probes);
}  // namespace switchyard::runtime::bench
