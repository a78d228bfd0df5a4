// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a rank did and when: events in memory that was there before the first of them. Who records
/// has a pointer to one, null when nobody wants to know; trace_file.hpp writes it.
#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "comm/base/deadline.hpp"

namespace switchyard::runtime {

/// In the order in which they enclose each other.
enum class EventKind : std::uint8_t { kStep, kLayer, kPhase, kTask, kWait, kCounter };

/// A span of time, or a counter's value at one. What a and b are depends on the kind.
struct TimelineEvent {
  std::chrono::steady_clock::time_point begin;
  std::chrono::steady_clock::time_point end;  ///< counter: the same as begin
  std::string_view name;                      ///< phase, task, counter; wait: in which phase
  std::string_view detail;                    ///< wait: what for
  std::int64_t a = -1;     ///< task: logical expert; wait: rank waited for; counter: value
  std::int64_t b = -1;     ///< task: rows
  std::int32_t step = -1;  ///< -1: none, and of tasks, whose step and layer are around them
  std::int32_t layer = -1;
  EventKind kind = EventKind::kStep;
};

/// One lane a thread of this rank: 0 is the one that talks to other ranks, the others compute. A
/// lane is written by its own thread only, so recording takes no lock, and keeps the last
/// `capacity` events. Names must be literals.
class Timeline final : public comm::WaitRecorder {
 public:
  using Clock = std::chrono::steady_clock;

  /// Allocates and touches threads * capacity events (80 bytes each).
  /// @throws std::invalid_argument  threads or capacity below 1
  Timeline(int threads, std::int64_t capacity);

  /// A span of lane 0 that is over; step and layer are those of `at`.
  void span(EventKind kind, std::string_view name, const comm::Position& at, Time begin,
            Time end) noexcept;
  /// An expert's work on some rows, over.
  /// @param thread   who did it: below threads()
  /// @param logical  expert; -1: not one of them
  void task(int thread, std::string_view name, std::int64_t logical, std::int64_t rows, Time begin,
            Time end) noexcept;
  /// The value of a counter of lane 0 from now on.
  void count(std::string_view name, const comm::Position& at, std::int64_t value) noexcept;
  void waited(const comm::Position& at, const comm::Awaited& what, Time begin,
              Time end) noexcept override;

  /// Forgets what was recorded. While nobody records.
  void clear();

  [[nodiscard]] int threads() const { return static_cast<int>(lanes_.size()); }
  /// Those that are still there, by thread, oldest record first. While nobody records.
  [[nodiscard]] std::vector<TimelineEvent> events(int thread) const;
  /// Recorded since the last clear, and of these no longer there; over all threads.
  [[nodiscard]] std::int64_t recorded() const;
  [[nodiscard]] std::int64_t dropped() const;

 private:
  struct Lane {
    std::vector<TimelineEvent> ring;  ///< [capacity]
    std::size_t next = 0;             ///< where the next one goes
    std::int64_t recorded = 0;
  };
  static void put(Lane& lane, const TimelineEvent& event) noexcept;

  std::vector<Lane> lanes_;  ///< [threads]
};

/// Tells a timeline, if there is one, of its own scope on lane 0. Step and layer are those of the
/// deadline's position at the end.
class TimelineSpan {
 public:
  TimelineSpan(Timeline* timeline, EventKind kind, std::string_view name,
               const comm::Deadline& deadline)
      : timeline_(timeline), kind_(kind), name_(name), deadline_(deadline) {
    if (timeline_ != nullptr) begin_ = Timeline::Clock::now();
  }
  ~TimelineSpan() {
    if (timeline_ == nullptr) return;
    timeline_->span(kind_, name_, deadline_.position(), begin_, Timeline::Clock::now());
  }
  TimelineSpan(const TimelineSpan&) = delete;
  TimelineSpan& operator=(const TimelineSpan&) = delete;

 private:
  Timeline* timeline_;
  EventKind kind_;
  std::string_view name_;
  const comm::Deadline& deadline_;
  Timeline::Time begin_;
};
}  // namespace switchyard::runtime
