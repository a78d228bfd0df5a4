// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where the time of a step goes, on one rank.
#include <array>
#include <chrono>
#include <cstddef>
#include <string_view>

namespace switchyard::runtime {

enum class Phase : std::size_t { kRoute, kPlan, kDispatch, kExperts, kCombine, kAlwaysOn };
inline constexpr std::size_t kNumPhases = 6;
inline constexpr std::array<std::string_view, kNumPhases> kPhaseNames{
    "route", "plan", "dispatch", "experts", "combine", "always-on"};

/// Wall seconds in each phase, summed since the last clear.
struct PhaseTimes {
  std::array<double, kNumPhases> seconds{};
  [[nodiscard]] double& operator[](Phase phase) { return seconds[static_cast<std::size_t>(phase)]; }
};

/// Adds the time of its scope to a phase.
class PhaseTimer {
 public:
  PhaseTimer(PhaseTimes& times, Phase phase)
      : sum_(times[phase]), start_(std::chrono::steady_clock::now()) {}
  ~PhaseTimer() {
    sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

 private:
  double& sum_;
  std::chrono::steady_clock::time_point start_;
};
}  // namespace switchyard::runtime
