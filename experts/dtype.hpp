// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The types that weights are stored in, and exact conversions between them and float32.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace switchyard::experts {

enum class DType { kFloat32, kBfloat16 };

/// Bytes of one element.
[[nodiscard]] constexpr std::int64_t size_of(DType type) {
  return type == DType::kFloat32 ? 4 : 2;
}
[[nodiscard]] constexpr std::string_view name_of(DType type) {
  return type == DType::kFloat32 ? "float32" : "bfloat16";
}

/// bfloat16 bits to float32; exact.
[[nodiscard]] constexpr float widen_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

/// float32 to bfloat16 bits, round to nearest, ties to even; a NaN stays a (quiet) NaN.
[[nodiscard]] constexpr std::uint16_t narrow_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16U) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}
}  // namespace switchyard::experts
