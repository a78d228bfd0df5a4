// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The fixed header in front of everything that an exchange sends. wire.proto specifies its bytes.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// What the body of a frame is.
enum class FrameKind : std::uint16_t {
  kDispatch = 1,  ///< the rows themselves
  kReturn = 2,    ///< the results themselves
  kLend = 3,      ///< addresses of rows, between threads
  kSlots = 4,     ///< the address where results are to be written, between threads
  kWritten = 5,   ///< nothing: results are in their slots
  kForward = 6,   ///< rows for all ranks of a node, in pieces; the note is their manifest
};

inline constexpr std::array<char, 4> kFrameMagic{'S', 'Y', 'R', 'D'};
inline constexpr std::uint16_t kFrameVersion = 1;
inline constexpr std::uint32_t kMoreFlag = 1;

struct FrameHeader {
  std::array<char, 4> magic = kFrameMagic;
  std::uint16_t version = kFrameVersion;
  FrameKind kind = FrameKind::kDispatch;
  std::uint32_t epoch = 0;
  std::int32_t from = 0;
  std::int32_t to = 0;
  std::uint32_t flags = 0;
  std::uint64_t sequence = 0;
  std::int64_t rows = 0;
  std::int32_t row_bytes = 0;
  std::int32_t results = 0;
  std::int64_t note_bytes = 0;
  std::uint32_t edition = 0;
  std::uint32_t crc = 0;
};
inline constexpr std::int64_t kFrameHeaderBytes = 64;
static_assert(std::endian::native == std::endian::little, "frames are memory images of the header");
static_assert(std::is_trivially_copyable_v<FrameHeader> &&
              std::has_unique_object_representations_v<FrameHeader>);
static_assert(sizeof(FrameHeader) == kFrameHeaderBytes);
static_assert(offsetof(FrameHeader, version) == 4 && offsetof(FrameHeader, kind) == 6 &&
              offsetof(FrameHeader, epoch) == 8 && offsetof(FrameHeader, from) == 12 &&
              offsetof(FrameHeader, to) == 16 && offsetof(FrameHeader, flags) == 20 &&
              offsetof(FrameHeader, sequence) == 24 && offsetof(FrameHeader, rows) == 32 &&
              offsetof(FrameHeader, row_bytes) == 40 && offsetof(FrameHeader, results) == 44 &&
              offsetof(FrameHeader, note_bytes) == 48 && offsetof(FrameHeader, edition) == 56 &&
              offsetof(FrameHeader, crc) == 60);

/// The header's 64 bytes with their checksum, to `bytes`.
void write_header(FrameHeader header, std::span<std::byte> bytes);

/// What a receiver knows about a frame before it comes.
struct ExpectedFrame {
  FrameKind kind = FrameKind::kDispatch;
  std::uint32_t epoch = 0;
  int from = 0;
  int to = 0;
  std::uint64_t sequence = 0;
  std::int64_t row_bytes = 0;
  std::int64_t rows = -1;  ///< -1: the sender's to say
  std::uint32_t edition = 0;
};

/// The header in `bytes`, checked before anything is allocated for what follows it.
/// @throws ProtocolError  "frame from rank 2 to rank 0: sequence is 4, want 3"
[[nodiscard]] FrameHeader read_header(std::span<const std::byte> bytes,
                                      const ExpectedFrame& expected);

/// How much body follows this header.
[[nodiscard]] Extent body_extent(const FrameHeader& header);
}  // namespace switchyard::comm
