// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Timelines of all ranks as one file in the trace event format, which chrome://tracing and
/// ui.perfetto.dev draw: a process a rank, a thread a lane, times on rank 0's clock.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "comm/group/clock.hpp"
#include "comm/group/group.hpp"
#include "runtime/report/timeline.hpp"

namespace switchyard::runtime {

/// What a trace holds, over all ranks.
struct TraceSummary {
  std::int64_t events = 0;
  std::int64_t dropped = 0;         ///< recorded and overwritten by later ones
  std::int64_t clock_error_ns = 0;  ///< bound, of the rank with the largest
};

/// Writes everyone's events, rank after rank and in each by time, through sink(text) on rank 0,
/// which holds one rank's events at a time. Collective; nobody may be recording.
/// @param clock  measured before and after what was recorded
/// @return       the same on every rank
TraceSummary write_trace(comm::Group& group, const Timeline& timeline,
                         const comm::AlignedClock& clock,
                         const std::function<void(std::string_view)>& sink);

/// The same of ranks that are in one process and have one clock: simulated ones.
/// @param ranks  by rank
TraceSummary write_trace(const std::vector<std::unique_ptr<Timeline>>& ranks,
                         const std::function<void(std::string_view)>& sink);

/// One recording of a program that may or may not be asked for one.
class TraceRecorder {
 public:
  /// @param threads  that compute, a rank
  /// @param events   that each keeps; 0: nothing is recorded, and no call below does anything
  TraceRecorder(comm::Group& group, int threads, std::int64_t events);
  ~TraceRecorder();
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;

  /// For whoever records; null: nobody wants to know. Good until this object goes.
  [[nodiscard]] Timeline* timeline() { return timeline_ ? &*timeline_ : nullptr; }
  /// Forgets what came before, and listens to waits. Collective.
  void start();
  /// Collective, after start().
  TraceSummary finish(const std::function<void(std::string_view)>& sink);

 private:
  comm::Group& group_;
  std::optional<Timeline> timeline_;
  comm::AlignedClock clock_;
};
}  // namespace switchyard::runtime
