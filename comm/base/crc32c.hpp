// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The one checksum: of frame headers, packed experts and checkpoints.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard::comm {

/// CRC-32C (Castagnoli): polynomial 0x1EDC6F41 reflected, start and end inverted. By the
/// processor's own instruction where it has one, some 10 bytes a nanosecond. Source: RFC 3720,
/// section 12.1; the check value of "123456789" is 0xE3069283.
/// @param before  the checksum of what stands before these bytes, if they are a continuation
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

/// The same by tables alone, for processors without the instruction, and for tests.
[[nodiscard]] std::uint32_t crc32c_by_table(std::span<const std::byte> bytes,
                                            std::uint32_t before = 0);

/// Of each `piece` bytes; the last may be shorter.
/// @param piece  at least 1
[[nodiscard]] std::vector<std::uint32_t> crc32c_of_pieces(std::span<const std::byte> bytes,
                                                          std::size_t piece);
}  // namespace switchyard::comm
