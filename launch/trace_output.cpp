// SPDX-License-Identifier: Apache-2.0
#include "launch/trace_output.hpp"

#include <cstdio>
#include <span>

#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
constexpr std::int64_t kEvents = std::int64_t{1} << 16;  // 5 MiB a thread

double microseconds(std::int64_t ns) {
  return static_cast<double>(ns) / 1e3;
}
}  // namespace

std::vector<Option> trace_options() {
  return {
      output_option("trace", "FILE",
                    "a timeline of every rank, for ui.perfetto.dev or chrome://tracing"),
      integer_option("trace-events", "COUNT", "that --trace keeps of each thread: the last ones",
                     kEvents, {.least = 1, .most = std::int64_t{1} << 30})};
}

std::int64_t trace_events(const Options& options) {
  return options.has("trace") ? options.integer("trace-events") : 0;
}

TraceOutput::TraceOutput(Context& context) : context_(context) {
  if (!context.options.has("trace")) return;
  runtime::together(context.group(), [&] {
    if (!context.first()) return;
    file_ = std::make_unique<runtime::WholeFile>("--trace", context.options.text("trace"));
  });
}

std::function<void(std::string_view)> TraceOutput::sink() {
  if (!file_) return {};
  return [this](std::string_view text) { file_->write(std::as_bytes(std::span(text))); };
}

void TraceOutput::finish(const runtime::TraceSummary& trace) {
  if (!context_.options.has("trace")) return;
  runtime::together(context_.group(), [&] {
    if (file_) file_->commit();
  });
  if (!file_ || trace.dropped == 0) return;
  context_.reporter.warning("--trace: the first " + std::to_string(trace.dropped) +
                            " events made room for later ones; more --trace-events keep them");
}

std::string describe(const runtime::TraceSummary& trace) {
  char error[32];
  std::snprintf(error, sizeof error, "%.2f", microseconds(trace.clock_error_ns));
  return std::to_string(trace.events) + " events, " + std::to_string(trace.dropped) +
         " dropped, clocks within " + error + " us";
}

void put(nlohmann::ordered_json& json, const runtime::TraceSummary& trace) {
  json["trace_events"] = trace.events;
  json["trace_events_dropped"] = trace.dropped;
  json["trace_clock_error_us"] = microseconds(trace.clock_error_ns);
}
}  // namespace switchyard::launch
