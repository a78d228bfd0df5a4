// SPDX-License-Identifier: Apache-2.0
#include "comm/base/deadline.hpp"

#include <cstdio>

#include "comm/base/error.hpp"

namespace switchyard::comm {

Deadline::Clock::time_point Deadline::work_instead(Clock::time_point begin) {
  waited_ += Clock::now() - begin;
  spare_->work();
  return Clock::now();
}

void Deadline::over(Clock::time_point begin, const Awaited& what) {
  const Clock::time_point end = Clock::now();
  waited_ += end - begin;
  if (recorder_ != nullptr) recorder_->waited(position_, what, begin, end);
}

void Deadline::blame(const std::string& whom, Clock::duration waited) const {
  // Whoever is called off earlier than its own limit says how long it has waited, to a tenth.
  char seconds[32];
  if (waited >= limit_) {
    std::snprintf(seconds, sizeof seconds, "%.12g", static_cast<double>(limit_.count()) / 1000);
  } else {
    std::snprintf(seconds, sizeof seconds, "%.1f", std::chrono::duration<double>(waited).count());
  }
  std::string words = seconds;
  words += " s in " + std::string(position_.phase);
  if (position_.step >= 0) words += ", step " + std::to_string(position_.step);
  if (position_.layer >= 0) words += ", layer " + std::to_string(position_.layer);
  throw DeadlineError(words + ", waiting for " + whom);
}

void Deadline::tell_moved() {
  for (Observer* observer : observers_) observer->moved(position_);
}

void Deadline::tell_moved_back() {
  for (Observer* observer : observers_) observer->moved_back(position_);
}

Attendance Deadline::tell_meets(const Meeting& meeting) {
  for (auto observer = observers_.rbegin(); observer != observers_.rend(); ++observer) {
    const Attendance wanted = (*observer)->meets(position_, meeting);
    if (wanted != Attendance::kEnter) return wanted;
  }
  ++meetings_;
  return Attendance::kEnter;
}

bool Deadline::tell_waits(int peer) noexcept {
  bool called = false;
  for (Observer* observer : observers_) called = observer->waits(peer) || called;
  return called;
}

void Deadline::tell_waited() noexcept {
  for (Observer* observer : observers_) observer->waited();
}

void Deadline::tell_late() noexcept {
  for (Observer* observer : observers_) observer->late();
}

void Deadline::tell_sends(std::span<std::byte> frame) {
  for (Observer* observer : observers_) observer->sends(position_, frame);
}
}  // namespace switchyard::comm
