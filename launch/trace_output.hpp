// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// --trace of the commands that have it: the flags, the file, and what is said about it.
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "launch/command.hpp"
#include "runtime/report/trace_file.hpp"
#include "runtime/report/whole_file.hpp"

namespace switchyard::launch {

/// --trace and --trace-events.
[[nodiscard]] std::vector<Option> trace_options();
/// Events that each thread is to keep; 0: no timeline is wanted.
[[nodiscard]] std::int64_t trace_events(const Options& options);

class TraceOutput {
 public:
  /// Opens the file on rank 0, if one is wanted. Collective.
  /// @throws comm::CollectiveError  "--trace: cannot write /nowhere/a.json: ..."
  explicit TraceOutput(Context& context);

  /// Takes the text of the timeline, on rank 0.
  [[nodiscard]] std::function<void(std::string_view)> sink();
  /// The file is whole. Collective.
  void finish(const runtime::TraceSummary& trace);

 private:
  Context& context_;
  std::unique_ptr<runtime::WholeFile> file_;
};

/// "1234 events, 0 dropped, clocks within 0.71 us"
[[nodiscard]] std::string describe(const runtime::TraceSummary& trace);
/// trace_events, trace_events_dropped, trace_clock_error_us.
void put(nlohmann::ordered_json& json, const runtime::TraceSummary& trace);
}  // namespace switchyard::launch
