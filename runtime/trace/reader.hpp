// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Reads a routing trace from its file, a layer of a step at a time, in any order.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/trace/format.hpp"
#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

/// Holds the file open and an entry of 32 bytes a frame, whatever its size. Steps and layers are
/// indices from 0.
class TraceReader {
 public:
  /// Reads header, every frame's first bytes, and trailer.
  /// @throws std::system_error      "trace: cannot read FILE: No such file or directory"
  /// @throws std::invalid_argument  "FILE: byte 120: ...", what is wrong there
  explicit TraceReader(std::string file);
  ~TraceReader();
  TraceReader(TraceReader&& other) noexcept;
  TraceReader& operator=(TraceReader&&) = delete;

  [[nodiscard]] const TraceInfo& info() const { return info_; }
  [[nodiscard]] const std::string& file() const { return file_; }
  [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(numbers_.size()); }
  [[nodiscard]] std::int64_t number(std::int64_t step) const;
  [[nodiscard]] std::int64_t tokens(std::int64_t step, std::int64_t layer) const;
  /// Tokens of a step. @throws std::invalid_argument  its layers do not have the same
  [[nodiscard]] std::int64_t tokens(std::int64_t step) const;
  /// Bytes of the file, and of it once inflated.
  [[nodiscard]] std::int64_t file_bytes() const { return file_bytes_; }
  [[nodiscard]] std::int64_t payload_bytes() const { return payload_bytes_; }
  /// A checksum of all of it: the same where the trace is.
  [[nodiscard]] std::uint32_t content() const { return content_; }

  /// Reads and checks. @throws as the constructor
  [[nodiscard]] TraceLayer layer(std::int64_t step, std::int64_t layer);
  [[nodiscard]] TraceStep read(std::int64_t step);

 private:
  /// What the index keeps of a frame.
  struct Entry {
    std::int64_t offset = 0;  ///< of its stored bytes
    std::int64_t stored = 0;
    std::int64_t tokens = 0;
    std::uint32_t checksum = 0;
  };
  void read_index();
  void add(const TraceFrame& frame, std::int64_t offset);
  void end(std::span<const std::byte> bytes, std::int64_t offset, std::uint32_t content);
  [[nodiscard]] const Entry& entry(std::int64_t step, std::int64_t layer) const;
  [[nodiscard]] std::vector<std::byte> bytes(std::int64_t offset, std::int64_t count) const;

  std::string file_;
  int descriptor_ = -1;
  std::int64_t file_bytes_ = 0;
  std::int64_t payload_bytes_ = 0;
  TraceInfo info_;
  std::vector<std::int64_t> numbers_;  ///< [steps]
  std::vector<Entry> entries_;         ///< [steps, layers]
  std::uint32_t content_ = 0;
};

/// All of a file. @throws as TraceReader
[[nodiscard]] RoutingTrace read_trace(const std::string& file);
/// Slots of each expert in a window of steps, read a layer at a time.
[[nodiscard]] TraceLoad load_of(TraceReader& trace, std::int64_t first, std::int64_t steps);
}  // namespace switchyard::runtime
