// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The one way to wait: with a limit, and a position to report when it is passed.
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace switchyard::comm {

/// Where a rank is in its program, for whoever has to explain a hang.
struct Position {
  std::int64_t step = -1;            ///< -1: before the first
  std::int64_t layer = -1;           ///< -1: outside any layer
  std::string_view phase = "start";  ///< a literal: it outlives the position
};

/// Belongs to one rank. Not thread-safe; MPI is called by one thread a rank.
class Deadline {
 public:
  explicit Deadline(std::chrono::milliseconds limit) : limit_(limit) {}

  void at(const Position& position) { position_ = position; }
  void phase(std::string_view name) { position_.phase = name; }
  [[nodiscard]] const Position& position() const { return position_; }
  [[nodiscard]] std::chrono::milliseconds limit() const { return limit_; }

  /// Calls `done` until it is true: spins briefly, then yields the processor between calls, so that
  /// more ranks than cores still make progress.
  /// @param whom  what is waited for, asked only on failure: "rank 2"
  /// @throws DeadlineError  "30 s in combine, step 17, layer 0, waiting for rank 2"
  void wait(const std::function<bool()>& done, const std::function<std::string()>& whom) const;

 private:
  std::chrono::milliseconds limit_;
  Position position_;
};
}  // namespace switchyard::comm
