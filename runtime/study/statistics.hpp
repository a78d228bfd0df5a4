// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What repetitions come to: their median, what it may be off by, and the slowest of a hundred.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace switchyard::runtime::study {

/// The mean of the two middle ones if their number is even. 0 of none.
[[nodiscard]] double median_of(std::vector<double> values);

/// The smallest value that `share` of them do not exceed (nearest rank): of fewer than 100 values
/// and a share of 0.99 that is the largest. 0 of none.
[[nodiscard]] double quantile(std::vector<double> values, double share);

/// A median and where the true one lies.
struct Estimate {
  double median = 0;
  double low = 0;
  double high = 0;
  double coverage = 0;  ///< chance that the interval has the true median; 0 of one value
};

/// By order statistics, without an assumption about how values are spread: from the jth smallest to
/// the jth largest value, which has the true median with the chance 1 - 2 P(fewer than j of n
/// tosses of a coin are heads). j is the largest for which that is at least `confidence`; where
/// even the whole range is less, the whole range with its own chance (5 values: 0.9375; 6:
/// 0.96875).
/// @param confidence  above 0, below 1
/// Source: David and Nagaraja, Order Statistics, 3rd edition (2003), section 7.1.
[[nodiscard]] Estimate median_interval(std::vector<double> values, double confidence);

/// median(over) / median(under), and where it lies by bootstrap: both are drawn anew, with
/// replacement, kResamples times, and the interval is what `confidence` of the ratios lie in, the
/// same share left out below and above. One value each gives that ratio and a coverage of 0.
/// The same numbers for the same seed, everywhere.
/// Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
[[nodiscard]] Estimate ratio_interval(std::span<const double> over, std::span<const double> under,
                                      double confidence, std::uint64_t seed);
inline constexpr int kResamples = 2000;
}  // namespace switchyard::runtime::study
