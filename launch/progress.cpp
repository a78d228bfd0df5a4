// SPDX-License-Identifier: Apache-2.0
#include "launch/progress.hpp"

#include <unistd.h>
#include <utility>

#include "launch/terminal.hpp"

namespace switchyard::launch {

Progress::Progress(std::string what, bool shown)
    : what_(std::move(what)),
      shown_(shown && ::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

Progress::~Progress() {
  clear();
}

void Progress::at(std::int64_t done, std::int64_t of) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || now - start_ < 2s || now - last_ < 100ms) return;
  last_ = now;
  drawn_ = true;
  (void)write_all(STDERR_FILENO,
                  "\r\033[K" + what_ + ": " + std::to_string(done) + " of " + std::to_string(of));
}

void Progress::clear() {
  if (drawn_) (void)write_all(STDERR_FILENO, "\r\033[K");
  drawn_ = false;
}
}  // namespace switchyard::launch
