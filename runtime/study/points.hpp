// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From a study to the points that it measures, each once, however many sweeps it stands in.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/run/settings.hpp"
#include "runtime/study/study.hpp"

namespace switchyard::runtime::study {

/// One configuration on one kind of ranks.
struct Point {
  RankKind kind = RankKind::kReal;
  int machine = -1;  ///< which of the study's; -1: this one, of real ranks
  int ranks = 1;
  std::int64_t tokens = 0;  ///< a step, all ranks together; -1: as the trace has
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::string routing;
  std::string placement;

  [[nodiscard]] bool operator==(const Point& other) const = default;
  /// Whether both are asked for the same work, on whatever ranks.
  [[nodiscard]] bool same_work(const Point& other) const;
};

/// What a point is called in files: equal points have equal keys.
[[nodiscard]] std::string key_of(const Point& point, const Study& study);

/// The points of one sweep that make a curve: of one kind, one machine and, unless ranks are what
/// is varied, one rank count.
struct Series {
  struct Row {
    std::string x;      ///< "4", "zipf:1.2"
    double number = 0;  ///< of an x that is one
    std::size_t point = 0;
  };
  Over over = Over::kStrong;
  RankKind kind = RankKind::kReal;
  int machine = -1;
  int ranks = 0;  ///< 0: they are what is varied
  std::vector<Row> rows;
};

struct StudyPlan {
  std::vector<Point> points;  ///< in the order in which sweeps name them, real ones first
  std::vector<Series> series;
  /// Counts that a machine has no room for and another one has: "strong: 64 simulated ranks on
  /// here.textproto, which has room for 4".
  std::vector<std::string> left_out;
};

/// @param study  settled
[[nodiscard]] StudyPlan plan_of(const Study& study);

/// What `run` would be asked for, wherever the ranks are.
[[nodiscard]] RunSettings run_settings_of(const Study& study, const Point& point);
/// FIELD=VALUE of the point's model: the study's, and those that the point changes.
[[nodiscard]] std::vector<std::string> set_of(const Study& study, const Point& point);
}  // namespace switchyard::runtime::study
