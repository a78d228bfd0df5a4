// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From the times of points to what a study says: curves with efficiency and laws, and real ranks
/// against simulated ones.
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "runtime/study/law.hpp"
#include "runtime/study/points.hpp"
#include "runtime/study/statistics.hpp"

namespace switchyard::runtime::study {

/// What is known of a point's step.
struct Times {
  std::vector<double> repetitions_s;  ///< mean step of each start that went well; none: not known
  std::vector<double> steps_s;        ///< every counted step of those, if they were told apart
  [[nodiscard]] bool known() const { return !repetitions_s.empty(); }
  /// Of single steps where they were told apart, else of repetitions.
  [[nodiscard]] double p99_s() const;
  [[nodiscard]] std::size_t p99_of() const;
};

/// One point of a curve that has been measured.
struct CurveRow {
  Series::Row row;
  Estimate step_s;
  Estimate speedup;                    ///< the first row's step over this
  std::optional<Estimate> efficiency;  ///< strong and weak only
};

struct Curve {
  Series series;               ///< as planned
  std::vector<CurveRow> rows;  ///< those with times
  std::vector<Fit> laws;       ///< the best first; in seconds
  std::string no_law;          ///< why there is none
};

/// Efficiency is measured against the row of the fewest ranks that has times: R0 t(R0) / (R t(R))
/// of strong sweeps, t(R0) / t(R) of weak ones.
/// @param times  by point
[[nodiscard]] Curve curve_of(const Series& series, const std::vector<Times>& times,
                             double confidence, std::uint64_t seed);

/// One configuration, measured and foretold.
struct Comparison {
  std::size_t real = 0;  ///< points
  std::size_t simulated = 0;
  double real_s = 0;
  double simulated_s = 0;
  double error = 0;          ///< simulated over real, less 1
  double beyond_spread = 0;  ///< the same against the nearer end of the real interval; 0 inside it
};
/// Which of the study's machines real ranks are held to stand on. Against another one a difference
/// is no error.
inline constexpr int kThisMachine = 0;
/// Every pair of a real point and one simulated on that machine that do the same work on as many
/// ranks.
[[nodiscard]] std::vector<Comparison> compare(const std::vector<Point>& points,
                                              const std::vector<Times>& times, double confidence);

/// What the comparisons of one kind and machine come to.
struct Agreement {
  RankKind kind = RankKind::kSimulated;
  int machine = -1;
  std::size_t pairs = 0;
  double mean_error = 0;  ///< without signs
  double worst_error = 0;
  double mean_beyond_spread = 0;
  std::size_t ordered = 0;  ///< pairs of configurations that really differ by more than kDiffer
  std::size_t ordered_right = 0;
};
inline constexpr double kDiffer = 0.15;
[[nodiscard]] std::vector<Agreement> agreements(const std::vector<Comparison>& comparisons,
                                                const std::vector<Point>& points);
}  // namespace switchyard::runtime::study
