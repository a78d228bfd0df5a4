// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The one way to wait: with a limit, a position to report when it is passed, and a clock that runs
/// while nobody works.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

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

/// What all ranks enter in the same order: a collective, or one half of a round of an exchange.
struct Meeting {
  std::string_view what;     ///< a literal: "dispatch"
  std::int64_t channel = 0;  ///< of an exchange, its epoch
  std::int64_t round = 0;    ///< of an exchange; 0: it has none
};

/// Whether a rank enters a meeting. All but kEnter is a fault that somebody asked for.
enum class Attendance { kEnter, kSkip, kElsewhere };

/// Whoever wants to know where a rank is: its heartbeat, a plan of faults. Told by the rank's own
/// thread and, of waits, by its helpers too.
class Observer {
 public:
  virtual ~Observer() = default;
  /// May throw, and may never return.
  virtual void moved(const Position& /*to*/) {}
  /// It is again where it was before it did something else in a wait.
  virtual void moved_back(const Position& /*to*/) {}
  /// The last to observe is asked first; who comes after one that says no is not told.
  virtual Attendance meets(const Position& /*at*/, const Meeting& /*meeting*/) {
    return Attendance::kEnter;
  }
  /// Between two looks of a wait. True: somebody has called a hang, so give up.
  virtual bool waits(int /*peer*/) noexcept { return false; }
  virtual void waited() noexcept {}
  /// The limit has passed; the wait is given up after this.
  virtual void late() noexcept {}
  /// A header or line that is about to leave.
  virtual void sends(const Position& /*at*/, std::span<std::byte> /*frame*/) {}
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

  void at(const Position& position) {
    position_ = position;
    if (!observers_.empty()) tell_moved();
  }
  void phase(std::string_view name) {
    position_.phase = name;
    if (!observers_.empty()) tell_moved();
  }
  /// Back to where the rank was before it did something else in a wait.
  void back_at(const Position& position) {
    position_ = position;
    if (!observers_.empty()) tell_moved_back();
  }
  [[nodiscard]] const Position& position() const { return position_; }
  [[nodiscard]] std::chrono::milliseconds limit() const { return limit_; }

  /// Calls `done` until it is true: spins briefly, then yields the processor between calls, so that
  /// more ranks than cores still make progress. What is over within the spins costs no clock; while
  /// there is spare work, a piece of it is done between calls, and its time is no waiting.
  /// While this rank is itself stopped, by a terminal, a debugger or a host that is busy elsewhere,
  /// nobody is to blame: of the time between two looks only so much counts towards the limit.
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
    Clock::time_point looked = begin;
    Clock::duration counted{};
    // Asked before the clock each time: a rank that was itself stopped must look before it blames.
    while (!done()) {
      if (spare_ != nullptr && spare_->left()) {
        begin = looked = work_instead(begin);
        counted = {};
        continue;
      }
      const bool called = !observers_.empty() && tell_waits(what.peer);
      const Clock::time_point now = Clock::now();
      counted += std::min<Clock::duration>(now - looked, kAway);
      looked = now;
      if (called || counted >= limit_) {
        if (!called) tell_late();
        over(begin, what);
        blame(whom(), now - begin);
      }
      std::this_thread::yield();
    }
    over(begin, what);
    if (!observers_.empty()) tell_waited();
  }

  /// Counts what all ranks enter alike, and asks whether this one does.
  [[nodiscard]] Attendance meet(const Meeting& meeting) {
    if (!observers_.empty()) return tell_meets(meeting);
    ++meetings_;
    return Attendance::kEnter;
  }
  /// How many this rank has entered; equal on all ranks inside one.
  [[nodiscard]] std::int64_t meetings() const { return meetings_; }
  /// Where ranks whose counts may differ begin something together.
  void count_meetings_anew() { meetings_ = 0; }
  /// A frame is about to leave.
  void sends(std::span<std::byte> frame) {
    if (!observers_.empty()) tell_sends(frame);
  }

  /// From now on it is told; after those before it. It must outlive its use here.
  void observe(Observer* observer) { observers_.push_back(observer); }
  void forget(Observer* observer) { std::erase(observers_, observer); }
  /// Those of another deadline are told of this one's waits: for a helper of the rank's thread.
  void observe_as(const Deadline& other) { observers_ = other.observers_; }

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
  /// What counts between two looks; longer than a turn of other ranks on a shared core.
  static constexpr std::chrono::milliseconds kAway{250};

  /// @return  when the piece was done, from where on it waits again
  Clock::time_point work_instead(Clock::time_point begin);
  void over(Clock::time_point begin, const Awaited& what);
  [[noreturn]] void blame(const std::string& whom, Clock::duration waited) const;
  void tell_moved();
  void tell_moved_back();
  [[nodiscard]] Attendance tell_meets(const Meeting& meeting);
  [[nodiscard]] bool tell_waits(int peer) noexcept;
  void tell_waited() noexcept;
  void tell_late() noexcept;
  void tell_sends(std::span<std::byte> frame);

  std::chrono::milliseconds limit_;
  Position position_;
  Clock::duration waited_{};
  WaitRecorder* recorder_ = nullptr;
  Spare* spare_ = nullptr;
  std::int64_t meetings_ = 0;
  std::vector<Observer*> observers_;  ///< few, and mostly none
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

/// Observes a deadline within a scope.
class Observing {
 public:
  /// @param observer  null: nobody
  Observing(Deadline& deadline, Observer* observer) : deadline_(deadline), observer_(observer) {
    if (observer_ != nullptr) deadline_.observe(observer_);
  }
  ~Observing() {
    if (observer_ != nullptr) deadline_.forget(observer_);
  }
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;

 private:
  Deadline& deadline_;
  Observer* observer_;
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
