// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One time for all ranks: what rank 0's steady clock says at a moment of this rank's.
#include <chrono>
#include <cstdint>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// Hosts start their clocks at their boot and let them drift, so this measures how far rank 0's is
/// ahead, before and after whatever is to be aligned, and draws a straight line between.
class AlignedClock {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Asks rank 0 for its time, several times, and believes the fastest answer: it was given within
  /// that round trip, so its middle is wrong by at most half of it. Collective.
  /// @param rounds  questions a rank; at least 1
  void measure(Group& group, int rounds = 32);

  /// Nanoseconds on rank 0's clock, from an origin of that clock's own. Before the first
  /// measurement this rank's own.
  [[nodiscard]] std::int64_t root_ns(Time time) const;
  /// Rank 0's clock minus this one, at the last measurement.
  [[nodiscard]] std::int64_t offset_ns() const;
  /// Bound of the error at the measured moments, the larger one; 0 on rank 0. Between them a drift
  /// that is not steady comes on top.
  [[nodiscard]] std::int64_t error_ns() const;

 private:
  struct Sample {
    std::int64_t at_ns = 0;      ///< this rank's time
    std::int64_t offset_ns = 0;  ///< rank 0's minus this rank's
    std::int64_t error_ns = 0;   ///< half of the round trip
  };
  std::vector<Sample> samples_;  ///< in the order of time
};
}  // namespace switchyard::comm
