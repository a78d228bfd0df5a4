// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A thread for what must not hold up the others: one job at a time, no messages, no signals.
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace switchyard::runtime {

class Worker {
 public:
  Worker() = default;
  ~Worker() = default;  ///< waits for the job
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// @param job  must not throw. Where no thread can be had it is done here and now.
  /// @pre done()
  void start(std::function<void()> job);
  [[nodiscard]] bool done() const;
  /// Returns early when the job is done.
  void nap(std::chrono::microseconds longest) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  bool done_ = true;
  std::jthread thread_;  ///< last: joined before the rest goes
};
}  // namespace switchyard::runtime
