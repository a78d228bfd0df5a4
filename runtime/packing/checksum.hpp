// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Checksums of large blocks, fast enough to be taken whenever one is mapped.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace switchyard::runtime {

/// CRC-32C (comm/crc32c.hpp has the polynomial) of each `piece` bytes; the last may be shorter. By
/// the processor's own instruction where it has one.
/// @param piece  at least 1
[[nodiscard]] std::vector<std::uint32_t> crc32c_of_pieces(std::span<const std::byte> bytes,
                                                          std::size_t piece);
}  // namespace switchyard::runtime
