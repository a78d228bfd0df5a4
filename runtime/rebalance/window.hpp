// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What one rank has seen in the last steps, and what all have, put together.
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "runtime/layer/coordinator.hpp"
#include "runtime/placement/judge/rebalance.hpp"

namespace switchyard::runtime {

/// A rank's own, or all ranks' together.
struct Window {
  std::int64_t steps = 0;                       ///< whose load counts
  std::int64_t row_steps = 0;                   ///< of these, under the placement there is
  std::vector<std::vector<std::int64_t>> load;  ///< [layers][experts], slots of tokens
  std::vector<std::vector<std::int64_t>> rows;  ///< [ranks][layers], computed; own: of one rank
  double task_s = 0;                            ///< that these rows took, of one thread
  [[nodiscard]] double busiest_rows() const;    ///< of each layer's busiest rank, a step
  [[nodiscard]] double balancedness() const;    ///< of rows, layers summed up on both sides
  [[nodiscard]] std::vector<LayerLoad> loads() const;
  [[nodiscard]] double row_s() const;  ///< a row's seconds
};

/// Counts on one rank.
class WindowCounter {
 public:
  /// @param threads  that compute on this rank
  WindowCounter(const Coordinator& layers, std::int64_t steps, int threads);
  /// The layers' counts begin at zero again, or not: what they say now is not of the next step.
  void begin(const Coordinator& layers);
  /// A step is over.
  void add(const Coordinator& layers);
  /// Rows were computed under another placement until now.
  void forget_rows() { steps_.clear(); }

  void write(std::vector<std::int64_t>& words) const;
  /// @throws comm::ProtocolError  words of another shape
  [[nodiscard]] Window read(std::span<const std::vector<std::int64_t>> ranks) const;
  /// Words that write() appends.
  [[nodiscard]] std::size_t words() const;

 private:
  struct Step {
    std::vector<std::int64_t> rows;  ///< [layers]
    double task_s = 0;
  };
  std::int64_t layers_;
  std::int64_t experts_;
  std::size_t most_;
  int threads_;
  RecentLoad load_;
  std::deque<Step> steps_;
  std::vector<LayerStats> before_;  ///< [layers]
};
}  // namespace switchyard::runtime
