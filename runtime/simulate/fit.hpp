// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From times of messages by size to a tier of a machine: latency, bandwidth, the sizes where the
/// library below changes its protocol, and what both directions share.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

/// One size of message between two ranks.
struct MessageTime {
  std::int64_t bytes = 0;
  double one_way_s = 0;   ///< half a ping-pong, after a pause
  double exchange_s = 0;  ///< each sends the other one, again and again; 0: not measured
  double stream_s = 0;    ///< of one among many that follow each other; 0: not measured
};

/// What was measured, what the fit says, and whether the fit was made from it.
struct Residual {
  std::string what;  ///< "rack, 65536 bytes one way"
  double measured_s = 0;
  double fitted_s = 0;
  bool used = true;
  [[nodiscard]] double error() const { return fitted_s / measured_s - 1; }
};

/// Exchanges of which every size takes this much longer than one way share the wire with
/// themselves.
inline constexpr double kHalfDuplexRatio = 1.5;
/// A size whose time is off by more than this begins a new step.
inline constexpr double kStepError = 0.12;

/// Fits from every second size, the first and the last included; the others are kept apart as a
/// check. The latency is the shortest message's, the bandwidth that of the two longest messages, or
/// of the longest in a stream if that is less, and what single messages are faster than it is the
/// burst. A step is begun where that is off by more than kStepError. Exchanges of all sizes whose
/// bytes take longer than their latency give exchange_ratio, their mean over one way, or half
/// duplex if each of them takes more than kHalfDuplexRatio times one way.
/// @param times  at least 3, by rising sizes
[[nodiscard]] TierCost fit_tier(const std::vector<MessageTime>& times);

/// Every size one way, in exchange and in a stream, against the fit. @param tier  its name, for the
/// words
[[nodiscard]] std::vector<Residual> residuals_of(const std::vector<MessageTime>& times,
                                                 const TierCost& cost, const std::string& tier);
}  // namespace switchyard::runtime
