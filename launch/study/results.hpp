// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a study has come to, as study.json, as a table and as CSV. runtime/study/README.md has the
/// keys.
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "launch/study/folder.hpp"
#include "runtime/study/analysis.hpp"

namespace switchyard::launch {

/// A point with all its starts.
struct PointState {
  std::vector<const FinishedStart*> good;  ///< by repetition
  std::vector<const FinishedStart*> failed;
  int wanted = 1;  ///< starts of it
  [[nodiscard]] bool done() const { return static_cast<int>(good.size()) >= wanted; }
  /// "done", "partial", "failed", "missing"
  [[nodiscard]] std::string status() const;
};

/// Everything that is shown, reckoned once.
struct StudyResults {
  const runtime::study::Study& study;
  const runtime::study::StudyPlan& plan;
  std::vector<PointState> states;             ///< by point
  std::vector<runtime::study::Times> times;   ///< by point
  std::vector<runtime::study::Curve> curves;  ///< as the plan's series
  std::vector<runtime::study::Comparison> comparisons;
  std::vector<runtime::study::Agreement> agreements;
  int starts_wanted = 0;
  int starts_done = 0;
  int starts_failed = 0;
  /// Real points that must have one digest, since placement and ranks change no bit, and have not:
  /// two keys each.
  std::vector<std::pair<std::size_t, std::size_t>> other_digests;

  [[nodiscard]] bool complete() const { return starts_done + starts_failed >= starts_wanted; }
};

/// Starts of a point: the study's repetitions of a real one; a simulation says the same every time.
[[nodiscard]] int starts_of(const runtime::study::Study& study, const runtime::study::Point& point);

/// @param finished  of this study; outlives the result
[[nodiscard]] StudyResults results_of(const runtime::study::Study& study,
                                      const runtime::study::StudyPlan& plan,
                                      const std::vector<FinishedStart>& finished);

/// What study.json has beyond who, where and when.
[[nodiscard]] nlohmann::ordered_json study_json(const StudyResults& results);
void print_study(const StudyResults& results, std::ostream& out);
/// A line a point.
[[nodiscard]] std::string study_csv(const StudyResults& results);
}  // namespace switchyard::launch
