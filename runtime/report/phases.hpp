// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where the time of a step goes, on one rank: how long each phase took, and how much of that it
/// waited for other ranks.
#include <array>
#include <chrono>
#include <cstddef>
#include <string_view>

#include "comm/base/deadline.hpp"
#include "runtime/report/timeline.hpp"

namespace switchyard::runtime {

enum class Phase : std::size_t { kRoute, kPlan, kDispatch, kExperts, kCombine, kAlwaysOn };
inline constexpr std::size_t kNumPhases = 6;
inline constexpr std::array<std::string_view, kNumPhases> kPhaseNames{
    "route", "plan", "dispatch", "experts", "combine", "always-on"};

[[nodiscard]] inline std::string_view name_of(Phase phase) {
  return kPhaseNames[static_cast<std::size_t>(phase)];
}

/// Seconds in each phase, summed since the last clear.
struct PhaseTimes {
  std::array<double, kNumPhases> seconds{};  ///< wall
  std::array<double, kNumPhases> waiting{};  ///< of these, in comm::Deadline::wait

  PhaseTimes& operator+=(const PhaseTimes& other) {
    for (std::size_t i = 0; i < kNumPhases; ++i) {
      seconds[i] += other.seconds[i];
      waiting[i] += other.waiting[i];
    }
    return *this;
  }
};

/// Adds the time of its scope to a phase, and tells the timeline if there is one.
class PhaseTimer {
 public:
  /// @param deadline  what this rank waits with; its position is where the event is said to be
  /// @param timeline  may be null
  PhaseTimer(PhaseTimes& times, Phase phase, const comm::Deadline& deadline, Timeline* timeline)
      : times_(times),
        phase_(phase),
        deadline_(deadline),
        timeline_(timeline),
        waited_(deadline.waited()),
        begin_(Clock::now()) {}
  ~PhaseTimer() {
    const Clock::time_point end = Clock::now();
    const auto i = static_cast<std::size_t>(phase_);
    times_.seconds[i] += seconds(end - begin_);
    times_.waiting[i] += seconds(deadline_.waited() - waited_);
    if (timeline_ == nullptr) return;
    timeline_->span(EventKind::kPhase, name_of(phase_), deadline_.position(), begin_, end);
  }
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds(Clock::duration time) {
    return std::chrono::duration<double>(time).count();
  }

  PhaseTimes& times_;
  Phase phase_;
  const comm::Deadline& deadline_;
  Timeline* timeline_;
  Clock::duration waited_;
  Clock::time_point begin_;
};
}  // namespace switchyard::runtime
