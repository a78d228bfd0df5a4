// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The checksum of frame headers.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace switchyard::comm {

/// CRC-32C (Castagnoli): polynomial 0x1EDC6F41 reflected, start and end inverted.
/// Source: RFC 3720, section 12.1; the check value of "123456789" is 0xE3069283.
[[nodiscard]] constexpr std::uint32_t crc32c(std::span<const std::byte> bytes) {
  constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) {
        value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
      }
      table[i] = value;
    }
    return table;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const std::byte byte : bytes) {
    crc = (crc >> 8) ^ kTable[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xFFU];
  }
  return ~crc;
}
}  // namespace switchyard::comm
