// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From times of messages by size to a tier of a machine: latency, bandwidth, the sizes where the
/// library below changes its protocol, and whether both directions share the wire.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

/// One size of message between two ranks.
struct MessageTime {
  std::int64_t bytes = 0;
  double one_way_s = 0;   ///< half a ping-pong
  double exchange_s = 0;  ///< each sends the other one, at the same time
};

/// What was measured, what the fit says, and whether the fit was made from it.
struct Residual {
  std::string what;  ///< "rack, 65536 bytes one way"
  double measured_s = 0;
  double fitted_s = 0;
  bool used = true;
  [[nodiscard]] double error() const { return fitted_s / measured_s - 1; }
};

/// An exchange that takes this much longer than one way shares the wire with itself.
inline constexpr double kHalfDuplexRatio = 1.5;
/// A size whose time is off by more than this begins a new step.
inline constexpr double kStepError = 0.12;

/// Fits from every second size, the first and the last included; the others are kept apart as a
/// check. The latency is the shortest message's, the bandwidth that of the two longest messages,
/// and a step is begun where that is off by more than kStepError. Half duplex if the longest
/// exchange takes more than kHalfDuplexRatio times one way.
/// @param times  at least 3, by rising sizes
[[nodiscard]] TierCost fit_tier(const std::vector<MessageTime>& times);

/// Every size one way and in exchange, against the fit. @param tier  its name, for the words
[[nodiscard]] std::vector<Residual> residuals_of(const std::vector<MessageTime>& times,
                                                 const TierCost& cost, const std::string& tier);
}  // namespace switchyard::runtime
