// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Writes a routing trace, a layer of a step at a time; the file is whole or absent.
#include <cstdint>
#include <string>

#include "runtime/report/whole_file.hpp"
#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

class TraceWriter {
 public:
  /// @param what  for messages: "--output"
  /// @throws std::system_error      the file cannot be written
  /// @throws std::invalid_argument  "trace: 0 layers, want 1 to 65536"
  TraceWriter(std::string what, std::string file, TraceInfo info);

  /// The next layer of the step of this number: layer 0 first, and all of them.
  /// @throws std::invalid_argument  "trace: step 3, layer 0: ...", what is wrong with it
  void add(std::int64_t step, const TraceLayer& layer);
  void add(const TraceStep& step);
  /// The file appears under its name.
  void finish();

  [[nodiscard]] const TraceInfo& info() const { return info_; }
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }  ///< written so far

 private:
  void write(const std::string& bytes);
  void require_order(std::int64_t step) const;

  TraceInfo info_;
  WholeFile file_;
  std::int64_t bytes_ = 0;
  std::int64_t frames_ = 0;
  std::int64_t last_step_ = -1;
  std::uint32_t content_ = 0;
};

/// All of a trace. @throws as TraceWriter
void write_routing_trace(const std::string& file, const RoutingTrace& trace);
}  // namespace switchyard::runtime
