// SPDX-License-Identifier: Apache-2.0
#include "comm/deadline.hpp"

#include <cstdio>
#include <thread>

#include "comm/error.hpp"

namespace switchyard::comm {
namespace {
// A peer on another core answers within a few tests; beyond that it is likely to need this core.
constexpr int kSpins = 20;

std::string describe(std::chrono::milliseconds limit, const Position& at, const std::string& whom) {
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%.12g", static_cast<double>(limit.count()) / 1000);
  std::string words = seconds;
  words += " s in " + std::string(at.phase);
  if (at.step >= 0) words += ", step " + std::to_string(at.step);
  if (at.layer >= 0) words += ", layer " + std::to_string(at.layer);
  return words + ", waiting for " + whom;
}
}  // namespace

void Deadline::wait(const std::function<bool()>& done,
                    const std::function<std::string()>& whom) const {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return;
  }
  const auto end = std::chrono::steady_clock::now() + limit_;
  // Asked before the clock each time: a rank that was itself stopped must look before it blames.
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end) {
      throw DeadlineError(describe(limit_, position_, whom()));
    }
    std::this_thread::yield();
  }
}
}  // namespace switchyard::comm
