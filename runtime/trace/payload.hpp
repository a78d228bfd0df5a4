// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What is inside a frame of a routing trace, before and after zlib. The door to zlib.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "runtime/trace/trace.hpp"

namespace switchyard::runtime {

/// Nothing: more than a frame may have.
[[nodiscard]] std::optional<std::int64_t> payload_bytes(const TraceInfo& info, std::int64_t tokens);
/// @throws std::invalid_argument  "trace: ... tokens, want at most ..."
[[nodiscard]] std::string payload_of(const TraceInfo& info, const TraceLayer& layer);
/// Counts are counted where experts are known. @param payload  of payload_bytes
[[nodiscard]] TraceLayer layer_of(const TraceInfo& info, std::int64_t tokens,
                                  const std::string& payload);

/// As one zlib stream. @throws std::bad_alloc
[[nodiscard]] std::string deflated(const std::string& payload);
/// Nothing: no zlib stream, or one of another length.
[[nodiscard]] std::optional<std::string> inflated(std::span<const std::byte> stored,
                                                  std::int64_t bytes);
/// More cannot come out of so many stored bytes, whatever they are.
[[nodiscard]] std::int64_t most_inflated(std::int64_t stored);
}  // namespace switchyard::runtime
