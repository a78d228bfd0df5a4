// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Carries a plan of faults out on one rank, where a deadline or the file system says it is.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/base/deadline.hpp"
#include "runtime/faults/plan.hpp"

namespace switchyard::runtime {

/// Says which fault fires before it does. May be told from several threads.
class FaultInjector final : public comm::Observer {
 public:
  /// @param faults       placed; those of other ranks and incarnations are left out
  /// @param incarnation  how often a supervisor has started this run again
  FaultInjector(const std::vector<Fault>& faults, int rank, std::int64_t incarnation,
                std::function<void(std::string_view)> say);

  void moved(const comm::Position& to) override;
  comm::Attendance meets(const comm::Position& at, const comm::Meeting& meeting) override;
  void sends(const comm::Position& at, std::span<std::byte> frame) override;
  /// The errno that a call of the file system is to fail with, or 0.
  [[nodiscard]] int fails(std::string_view call);
  /// For a thread that has no deadline of its own: as moved.
  void at(std::string_view phase, std::int64_t step) {
    moved({.step = step, .layer = -1, .phase = phase});
  }

 private:
  struct Armed {
    explicit Armed(Fault what) : fault(std::move(what)) {}
    Fault fault;
    std::atomic<std::int64_t> seen{0};
  };
  /// Counts a place that matches; true: now.
  [[nodiscard]] bool due(Armed& armed, const comm::Position& at);
  void say(const Armed& armed, const comm::Position& at) const;

  std::deque<Armed> armed_;
  std::function<void(std::string_view)> say_;
};
}  // namespace switchyard::runtime
