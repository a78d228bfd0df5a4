// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The one way to wait: with a limit, a position to report when it is passed, and a clock that runs
/// while nobody works.
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

namespace switchyard::comm {

/// Where a rank is in its program, for whoever has to explain a hang.
struct Position {
  std::int64_t step = -1;            ///< -1: before the first
  std::int64_t layer = -1;           ///< -1: outside any layer
  std::string_view phase = "start";  ///< a literal: it outlives the position
};

/// What a wait is for, for whoever draws it: read when the wait is over, so `done` may keep `peer`
/// at the rank that is still missing, and the last one of them gets the blame.
struct Awaited {
  std::string_view what = "others";  ///< a literal
  int peer = -1;                     ///< -1: nobody in particular
};

/// Told of every wait that was not over at once. Called by the waiting thread; must not allocate,
/// for waits are on the path of a row.
class WaitRecorder {
 public:
  using Time = std::chrono::steady_clock::time_point;
  virtual ~WaitRecorder() = default;
  virtual void waited(const Position& at, const Awaited& what, Time begin, Time end) noexcept = 0;
};

/// Something to do instead of waiting, in pieces of some hundred microseconds. Called by the
/// waiting thread; must not wait itself.
class Spare {
 public:
  virtual ~Spare() = default;
  [[nodiscard]] virtual bool left() const = 0;
  virtual void work() = 0;  ///< one piece; only while something is left
};

/// Belongs to one rank. Not thread-safe; MPI is called by one thread a rank.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Deadline(std::chrono::milliseconds limit) : limit_(limit) {}

  void at(const Position& position) { position_ = position; }
  void phase(std::string_view name) { position_.phase = name; }
  [[nodiscard]] const Position& position() const { return position_; }
  [[nodiscard]] std::chrono::milliseconds limit() const { return limit_; }

  /// Calls `done` until it is true: spins briefly, then yields the processor between calls, so that
  /// more ranks than cores still make progress. What is over within the spins costs no clock; while
  /// there is spare work, a piece of it is done between calls, and its time is no waiting.
  /// @param done  () -> bool
  /// @param whom  () -> std::string, what is waited for, asked only on failure: "rank 2"
  /// @param what  for the recorder
  /// @throws DeadlineError  "30 s in combine, step 17, layer 0, waiting for rank 2"
  template <class Done, class Whom>
  void wait(Done&& done, Whom&& whom, const Awaited& what = {}) {
    for (int i = 0; i < kSpins; ++i) {
      if (done()) return;
    }
    Clock::time_point begin = Clock::now();
    // Asked before the clock each time: a rank that was itself stopped must look before it blames.
    while (!done()) {
      if (spare_ != nullptr && spare_->left()) {
        begin = work_instead(begin);
        continue;
      }
      if (Clock::now() - begin >= limit_) {
        over(begin, what);
        blame(whom());
      }
      std::this_thread::yield();
    }
    over(begin, what);
  }

  /// Time in waits since the last reset, without what the first spins took.
  [[nodiscard]] Clock::duration waited() const { return waited_; }
  void reset_waited() { waited_ = {}; }
  /// Null: nothing to do. It must outlive its use here.
  void spare(Spare* spare) { spare_ = spare; }
  [[nodiscard]] Spare* spare() const { return spare_; }
  /// Null: nobody is told. The recorder must outlive its use here.
  void record(WaitRecorder* recorder) { recorder_ = recorder; }
  [[nodiscard]] WaitRecorder* recorder() const { return recorder_; }

 private:
  // A peer on another core answers within a few tests; beyond that it is likely to need this core.
  static constexpr int kSpins = 20;

  /// @return  when the piece was done, from where on it waits again
  Clock::time_point work_instead(Clock::time_point begin);
  void over(Clock::time_point begin, const Awaited& what);
  [[noreturn]] void blame(const std::string& whom) const;

  std::chrono::milliseconds limit_;
  Position position_;
  Clock::duration waited_{};
  WaitRecorder* recorder_ = nullptr;
  Spare* spare_ = nullptr;
};

/// Has something to do in a deadline's waits, within a scope.
class WhileWaiting {
 public:
  WhileWaiting(Deadline& deadline, Spare* spare) : deadline_(deadline), before_(deadline.spare()) {
    deadline_.spare(spare);
  }
  ~WhileWaiting() { deadline_.spare(before_); }
  WhileWaiting(const WhileWaiting&) = delete;
  WhileWaiting& operator=(const WhileWaiting&) = delete;

 private:
  Deadline& deadline_;
  Spare* before_;
};

/// Tells a recorder of a deadline's waits, within a scope.
class Recording {
 public:
  Recording(Deadline& deadline, WaitRecorder* recorder)
      : deadline_(deadline), before_(deadline.recorder()) {
    deadline_.record(recorder);
  }
  ~Recording() { deadline_.record(before_); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Deadline& deadline_;
  WaitRecorder* before_;
};
}  // namespace switchyard::comm
