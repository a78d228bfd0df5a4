// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One attempt of a supervised job: mpirun, what it says, where its ranks were, how it ended.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/watch/watch_board.hpp"
#include "launch/supervise/speech.hpp"

namespace switchyard::launch {

/// Signals that this process takes by reading, from construction on: TERM, INT, HUP, USR1, CHLD.
class SignalQueue {
 public:
  SignalQueue();
  ~SignalQueue();
  SignalQueue(const SignalQueue&) = delete;
  SignalQueue& operator=(const SignalQueue&) = delete;
  [[nodiscard]] int file() const { return file_; }
  /// The next one; 0: none.
  [[nodiscard]] int take();
  /// Waits for one other than CHLD. @return  0: none within the time
  [[nodiscard]] int wait(double seconds);

 private:
  int file_ = -1;
};

/// Memory for the ranks' positions, which outlives them.
class SharedBoard {
 public:
  explicit SharedBoard(int ranks);
  ~SharedBoard();
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  [[nodiscard]] std::string address() const;  ///< for SWITCHYARD_BOARD
  [[nodiscard]] comm::WatchBoard board() const { return comm::WatchBoard(memory_); }

 private:
  int file_ = -1;
  std::int64_t bytes_ = 0;
  std::uint64_t token_ = 0;
  std::byte* memory_ = nullptr;
};

struct JobSettings {
  std::vector<std::string> words;        ///< mpirun, or a program of one process, and what follows
  std::vector<std::string> environment;  ///< "NAME=VALUE", beside this process's own
  int ranks = 1;
  double grace_s = 60;                        ///< from being asked to leave to being killed
  double limit_s = 0;                         ///< killed after so long; 0: never
  bool silent = false;                        ///< stdout of the job is for nobody
  std::function<void(std::string_view)> say;  ///< lines for the user
};

struct JobResult {
  int mpirun_status = 0;   ///< 128 + signal if that killed it
  bool asked = false;      ///< somebody asked it to leave
  bool late = false;       ///< killed at its limit
  bool started = false;    ///< a rank came up
  bool lost = false;       ///< a rank went without a word
  int rank = -1;           ///< the first that failed; -1: not known
  std::string phase;       ///< where it was
  std::int64_t step = -1;  ///< the furthest that a rank was in
  std::string words;       ///< what went wrong, one line; "" if nothing did
  double seconds = 0;
  double first_step_s = -1;  ///< from the start until a rank was in a step; -1: none was
};

/// Runs it to its end, and returns when every process of it is gone. TERM, INT, HUP and USR1 are
/// handed on as USR1: save and leave; a second TERM or INT kills.
/// @throws std::system_error  it cannot be started
[[nodiscard]] JobResult run_job(const JobSettings& settings, SignalQueue& signals);
}  // namespace switchyard::launch
