// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The bytes of a routing trace, as trace.proto specifies them; files are their callers'.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

inline constexpr std::uint32_t kTraceVersion = 1;
inline constexpr std::size_t kTraceHead = 12;   ///< magic and length
inline constexpr std::size_t kTraceFrame = 48;  ///< what stands before a payload
inline constexpr std::size_t kTraceTrailer = 32;
inline constexpr std::int64_t kMostTraceHeader = 1 << 20;
inline constexpr std::int64_t kMostTracePayload = 1 << 30;

/// Where something stands, for messages: "FILE: byte 120: ".
struct TracePlace {
  const std::string& file;
  std::int64_t offset = 0;
  /// @throws std::invalid_argument
  [[noreturn]] void refuse(const std::string& what) const;
};

/// What stands before a payload.
struct TraceFrame {
  std::int64_t layer = 0;  ///< index
  std::int64_t step = 0;   ///< number
  std::int64_t tokens = 0;
  std::int64_t payload = 0;  ///< bytes
  std::int64_t stored = 0;   ///< bytes
  std::uint32_t checksum = 0;
};

/// What ends a file.
struct TraceTrailer {
  std::int64_t steps = 0;
  std::int64_t frames = 0;
  std::uint32_t content = 0;  ///< checksum
};

/// @throws std::invalid_argument  "trace: 0 layers, want 1 to 65536"
[[nodiscard]] std::string encode_trace_header(const TraceInfo& info);
/// Length of the message behind the first 12 bytes. @throws std::invalid_argument  no trace
[[nodiscard]] std::int64_t trace_header_length(std::span<const std::byte> head, std::int64_t file,
                                               const TracePlace& place);
/// @param header  all of it, checksum too
[[nodiscard]] TraceInfo decode_trace_header(std::span<const std::byte> header,
                                            const TracePlace& place);

/// Frame and payload of a layer that is sound. @throws std::invalid_argument  it is too large
[[nodiscard]] std::string encode_trace_layer(const TraceInfo& info, const TraceFrame& frame,
                                             const TraceLayer& layer);
/// @param left  bytes of the file from the end of this frame's 48 to the trailer
[[nodiscard]] TraceFrame decode_trace_frame(std::span<const std::byte> bytes, const TraceInfo& info,
                                            std::int64_t left, const TracePlace& place);
/// @param place  of the first stored byte
[[nodiscard]] TraceLayer decode_trace_layer(const TraceInfo& info, const TraceFrame& frame,
                                            std::span<const std::byte> stored,
                                            const TracePlace& place);

[[nodiscard]] std::string encode_trace_trailer(const TraceTrailer& trailer);
[[nodiscard]] TraceTrailer decode_trace_trailer(std::span<const std::byte> bytes,
                                                const TracePlace& place);
/// True if these bytes begin as a trailer does.
[[nodiscard]] bool is_trace_trailer(std::span<const std::byte> bytes);
}  // namespace switchyard::runtime
