// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How the experts' work of one rank is cut into tasks that any rank of the node may take. Pure.
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard::runtime {

/// What the cutter knows of one job: an expert and some rows.
struct JobShape {
  std::int64_t rows = 0;
  std::int64_t up_parts = 1;  ///< experts::PackedExpert::up_parts, down_parts
  std::int64_t down_parts = 1;
  int stage = 0;
};

/// kWhole: all of it. kUp, kDown: parts [first, end) of the two halves; every kDown of a job has to
/// wait for all its kUps.
enum class TaskKind : std::int32_t { kWhole, kUp, kDown };
struct Task {
  std::int32_t job = 0;
  TaskKind kind = TaskKind::kWhole;
  std::int32_t first = 0;
  std::int32_t end = 0;
};

/// Keeps its memory from round to round.
class TaskCutter {
 public:
  /// Tasks in the order in which they are to be taken: stage by stage, the most costly job first,
  /// so that what is left at the end is small; jobs that are large beside what is left are cut, and
  /// their second halves come a job later, when the first ones are likely to be done.
  /// @param sharers  that take from the list: 1 gets whole jobs in the order given
  /// @param stages   above every job's stage
  void cut(std::span<const JobShape> jobs, int sharers, int stages);

  [[nodiscard]] std::span<const Task> tasks() const { return tasks_; }
  /// [stages + 1], into tasks().
  [[nodiscard]] std::span<const std::int64_t> stage_offsets() const { return stage_offsets_; }
  /// [jobs], pieces of the first half; 0: the job is whole.
  [[nodiscard]] std::span<const std::int32_t> up_tasks() const { return up_tasks_; }

 private:
  void cut_job(std::int32_t job, const JobShape& shape, double limit);

  std::vector<Task> tasks_;
  std::vector<Task> later_;  ///< second halves that are held back
  std::vector<std::int64_t> stage_offsets_;
  std::vector<std::int32_t> up_tasks_;
  std::vector<std::int32_t> order_;
};

/// Whose tasks a rank takes, and in what order, when it has none left: mates on its own NUMA node
/// first, whose weights and rows are near; within these and within the others from the next one on.
/// @param local      its place on the node
/// @param memory_of  [mates], the NUMA node of each
[[nodiscard]] std::vector<int> taking_order(int local, std::span<const unsigned> memory_of);

/// Time of a job relative to one row's: it streams the weights up to about nine rows, and computes
/// beyond (peak over bandwidth, the same for every stored type to first order).
[[nodiscard]] constexpr double cost_of(std::int64_t rows) {
  constexpr double kCrossover = 9;
  return static_cast<double>(rows) <= kCrossover ? 1.0 : static_cast<double>(rows) / kCrossover;
}
}  // namespace switchyard::runtime
