// SPDX-License-Identifier: Apache-2.0
#include "launch/supervise/policy.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/status.hpp"

namespace switchyard::launch {

int program_status(int mpirun_status, bool lost) {
  switch (mpirun_status) {
    case runtime::kDone:
    case runtime::kUsage:
    case runtime::kInternal:
    case runtime::kIo:
    case runtime::kTemporary:
      return mpirun_status;
    case runtime::kCheckFailed:
      return lost ? runtime::kTemporary : runtime::kCheckFailed;
    default:
      return runtime::kTemporary;
  }
}

Decision Policy::decide(const Ending& ending) {
  if (ending.committed) restarts_ = 0;
  const int status = ending.status;
  Decision stop{.again = false, .wait_s = 0, .status = status, .why = ""};
  if (status == runtime::kDone || status == runtime::kCheckFailed || status == runtime::kUsage) {
    return stop;
  }
  if (ending.asked) return stop;
  if (!ending.started && restarts_ == 0 && failures_.empty()) {
    stop.why = "no rank came up";
    return stop;
  }
  const std::int64_t failed = ++failures_[ending.step];
  if (ending.step >= 0 && settings_.same_step > 0 && failed >= settings_.same_step) {
    stop.why = "poison step " + std::to_string(ending.step) + ": it failed " +
               std::to_string(failed) + " times";
    return stop;
  }
  if (restarts_ >= settings_.max_restarts) {
    stop.why = "no restart is left of " + std::to_string(settings_.max_restarts);
    return stop;
  }
  const double wait_s = settings_.first_backoff_s * std::exp2(static_cast<double>(restarts_));
  ++restarts_;
  return {.again = true,
          .wait_s = std::min(wait_s, settings_.most_backoff_s),
          .status = status,
          .why = ""};
}
}  // namespace switchyard::launch
