// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Whether a job that has ended is started again. Pure: how it ended in, what to do out.
#include <cstdint>
#include <map>
#include <string>

namespace switchyard::launch {

struct PolicySettings {
  std::int64_t max_restarts = 10;  ///< without a checkpoint in between
  double first_backoff_s = 0.1;    ///< doubles
  double most_backoff_s = 30;
  std::int64_t same_step = 3;  ///< failures in one step; 0: any number
};

/// How one attempt ended.
struct Ending {
  int status = 0;          ///< of the program's own: 0, 1, 2, 70, 74, 75
  std::int64_t step = -1;  ///< the furthest that a rank was in; -1: before the first
  bool committed = false;  ///< it has left a newer checkpoint than there was
  bool started = true;     ///< a rank came up
  bool asked = false;      ///< it was asked to leave
};

struct Decision {
  bool again = false;
  double wait_s = 0;
  int status = 0;   ///< to leave with, if not again
  std::string why;  ///< "poison step 7: it failed 3 times", if there is something to add
};

class Policy {
 public:
  explicit Policy(const PolicySettings& settings) : settings_(settings) {}
  [[nodiscard]] Decision decide(const Ending& ending);
  /// Starts since the last checkpoint, without the first.
  [[nodiscard]] std::int64_t restarts() const { return restarts_; }

 private:
  PolicySettings settings_;
  std::int64_t restarts_ = 0;
  std::map<std::int64_t, std::int64_t> failures_;  ///< by step
};

/// The program's status behind mpirun's: what a signal or a lost rank left is 75.
/// @param lost  mpirun has told of a rank that went without a word
[[nodiscard]] int program_status(int mpirun_status, bool lost);
}  // namespace switchyard::launch
