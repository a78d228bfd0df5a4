// SPDX-License-Identifier: Apache-2.0
#include "comm/wire/frame.hpp"

#include <cstring>
#include <limits>
#include <string>

#include "comm/base/crc32c.hpp"
#include "comm/base/error.hpp"

namespace switchyard::comm {
namespace {
constexpr std::size_t kCovered = offsetof(FrameHeader, crc);
constexpr std::int64_t kMaxCount = std::numeric_limits<std::int32_t>::max();

[[noreturn]] void refuse(const ExpectedFrame& frame, const std::string& what) {
  throw ProtocolError("frame from rank " + std::to_string(frame.from) + " to rank " +
                      std::to_string(frame.to) + ": " + what);
}

template <class Got, class Want>
void require_equal(const ExpectedFrame& frame, const char* name, Got got, Want want) {
  if (std::cmp_equal(got, want)) return;
  refuse(frame,
         std::string(name) + " is " + std::to_string(got) + ", want " + std::to_string(want));
}

void require_count(const ExpectedFrame& frame, const char* name, std::int64_t got) {
  if (got >= 0 && got <= kMaxCount) return;
  refuse(frame, std::string(name) + " is " + std::to_string(got) + ", want 0 to 2147483647");
}

bool says_results(FrameKind kind) {
  return kind == FrameKind::kDispatch || kind == FrameKind::kLend || kind == FrameKind::kForward;
}
}  // namespace

void write_header(FrameHeader header, std::span<std::byte> bytes) {
  header.crc = crc32c(std::as_bytes(std::span(&header, 1)).first(kCovered));
  std::memcpy(bytes.data(), &header, sizeof header);
}

FrameHeader read_header(std::span<const std::byte> bytes, const ExpectedFrame& expected) {
  require_equal(expected, "header size", bytes.size(), kFrameHeaderBytes);
  FrameHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kFrameMagic) refuse(expected, "does not begin with SYRD");
  // Before the checksum: a later version may keep it elsewhere.
  require_equal(expected, "version", header.version, kFrameVersion);
  require_equal(expected, "crc", header.crc, crc32c(bytes.first(kCovered)));
  require_equal(expected, "kind", static_cast<int>(header.kind), static_cast<int>(expected.kind));
  require_equal(expected, "epoch", header.epoch, expected.epoch);
  require_equal(expected, "from", header.from, expected.from);
  require_equal(expected, "to", header.to, expected.to);
  require_equal(expected, "unknown flags", header.flags & ~kMoreFlag, 0U);
  require_equal(expected, "edition", header.edition, expected.edition);
  require_equal(expected, "sequence", header.sequence, expected.sequence);
  require_equal(expected, "row_bytes", header.row_bytes, expected.row_bytes);
  if (expected.rows >= 0) require_equal(expected, "rows", header.rows, expected.rows);
  require_count(expected, "rows", header.rows);
  require_count(expected, "results", header.results);
  if (!says_results(header.kind)) require_equal(expected, "results", header.results, 0);
  require_count(expected, "note_bytes", header.note_bytes);
  return header;
}

Extent body_extent(const FrameHeader& header) {
  constexpr std::int64_t kAddress = sizeof(void*);
  switch (header.kind) {
    case FrameKind::kDispatch:
    case FrameKind::kReturn:
    case FrameKind::kForward:
      return {.row_bytes = header.row_bytes, .rows = header.rows};
    case FrameKind::kLend:
      return {.row_bytes = kAddress, .rows = header.rows};
    case FrameKind::kSlots:
      return {.row_bytes = kAddress, .rows = header.rows > 0 ? 1 : 0};
    case FrameKind::kWritten:
      break;
  }
  return {};
}
}  // namespace switchyard::comm
