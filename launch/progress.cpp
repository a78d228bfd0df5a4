// SPDX-License-Identifier: Apache-2.0
#include "launch/progress.hpp"

#include <chrono>
#include <unistd.h>
#include <utility>

#include "launch/terminal.hpp"

namespace switchyard::launch {

Progress::Progress(std::string what, bool shown) : what_(std::move(what)) {
  if (shown && ::isatty(STDERR_FILENO) == 1) thread_ = std::thread([this] { draw(); });
}

Progress::~Progress() {
  clear();
}

void Progress::at(std::int64_t done, std::int64_t of) {
  of_ = of;
  done_ = done;
}

void Progress::clear() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  over_.notify_one();
  thread_.join();
}

void Progress::draw() {
  using namespace std::chrono_literals;
  const auto start = std::chrono::steady_clock::now();
  bool drawn = false;
  std::unique_lock lock(mutex_);
  for (auto wait = std::chrono::milliseconds(2s);
       !over_.wait_for(lock, wait, [this] { return stop_; }); wait = 200ms) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
    const std::string where =
        done_ < 0 ? ": loading" : " " + std::to_string(done_) + " of " + std::to_string(of_);
    (void)write_all(STDERR_FILENO,
                    "\r\033[K" + what_ + where + ", " + std::to_string(seconds.count()) + " s");
    drawn = true;
  }
  if (drawn) (void)write_all(STDERR_FILENO, "\r\033[K");
}
}  // namespace switchyard::launch
