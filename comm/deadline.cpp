// SPDX-License-Identifier: Apache-2.0
#include "comm/deadline.hpp"

#include <cstdio>

#include "comm/error.hpp"

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

void Deadline::blame(const std::string& whom) const {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.12g", static_cast<double>(limit_.count()) / 1000);
  std::string words = seconds;
  words += " s in " + std::string(position_.phase);
  if (position_.step >= 0) words += ", step " + std::to_string(position_.step);
  if (position_.layer >= 0) words += ", layer " + std::to_string(position_.layer);
  throw DeadlineError(words + ", waiting for " + whom);
}
}  // namespace switchyard::comm
