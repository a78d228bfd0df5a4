// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One line that says how far a long job is; on a terminal only, and only after two seconds.
#include <chrono>
#include <cstdint>
#include <string>

namespace switchyard::launch {

class Progress {
 public:
  /// @param shown  false on every rank but the first
  Progress(std::string what, bool shown);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// "run: step 3 of 20"; drawn over the last one, at most ten times a second.
  void at(std::int64_t done, std::int64_t of);
  /// Takes the line off the screen.
  void clear();

 private:
  std::string what_;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};
}  // namespace switchyard::launch
