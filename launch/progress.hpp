// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One line that says how far a long job is; on a terminal only, and only after two seconds.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace switchyard::launch {

/// Draws from a thread of its own, so that a step that takes a minute shows that time goes on.
class Progress {
 public:
  /// @param what   "switchyard run: step"
  /// @param shown  false on every rank but the first
  Progress(std::string what, bool shown);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// "switchyard run: step 3 of 20, 12 s" from the next time that it is drawn.
  void at(std::int64_t done, std::int64_t of);
  /// Takes the line off the screen, for good.
  void clear();

 private:
  void draw();

  std::string what_;
  std::atomic<std::int64_t> done_ = -1;  ///< -1: not begun, weights are being loaded
  std::atomic<std::int64_t> of_ = 0;
  std::mutex mutex_;
  std::condition_variable over_;
  bool stop_ = false;
  std::thread thread_;  ///< not started where nothing is shown
};
}  // namespace switchyard::launch
