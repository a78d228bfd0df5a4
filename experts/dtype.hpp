// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The types that weights are stored in, and exact conversions between them and float32.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace switchyard::experts {

/// kInt8 exists packed only: its scales lie in the panels (experts/README.md).
enum class DType { kFloat32, kBfloat16, kFloat16, kInt8 };

/// Bytes of one element, scales not counted.
[[nodiscard]] constexpr std::int64_t size_of(DType type) {
  return type == DType::kFloat32 ? 4 : type == DType::kInt8 ? 1 : 2;
}
[[nodiscard]] constexpr std::string_view name_of(DType type) {
  constexpr std::string_view kNames[] = {"float32", "bfloat16", "float16", "int8"};
  return kNames[static_cast<std::size_t>(type)];
}

/// The type of a name. @throws std::invalid_argument  it is none of the above
[[nodiscard]] DType dtype_from(std::string_view name);

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

/// IEEE 754 binary16 bits to float32; exact, subnormals, infinities and NaNs included.
[[nodiscard]] constexpr float widen_float16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16U;
  const std::uint32_t exponent = (bits >> 10U) & 0x1fU;
  const std::uint32_t fraction = bits & 0x3ffU;
  if (exponent == 0) {  // zero or subnormal: fraction units of 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t widened = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | (widened << 23U) | (fraction << 13U));
}

/// float32 to binary16 bits, round to nearest, ties to even; too large is infinite, and a NaN stays
/// a (quiet) NaN.
[[nodiscard]] constexpr std::uint16_t narrow_float16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16U) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) {
    return static_cast<std::uint16_t>(sign | 0x7e00U | ((magnitude >> 13U) & 0x3ffU));
  }
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // from 65520
  if (magnitude < 0x38800000U) {  // below 2^-14: added to 0.5, its last bit is worth 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U));
  }
  const std::uint32_t odd = (magnitude >> 13U) & 1U;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000U + 0xfffU + odd) >> 13U));
}
}  // namespace switchyard::experts
