// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The types that weights are stored in, and exact conversions between them and float32.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace switchyard::experts {

/// kInt8, kFp8 (e4m3 without infinities) and kMxfp4 (e2m1, two values a byte) come with scales: of
/// a view in BlockScales (weights.hpp), of panels among the codes (experts/README.md).
enum class DType { kFloat32, kBfloat16, kFloat16, kInt8, kFp8, kMxfp4 };

inline constexpr DType kAllDTypes[] = {DType::kFloat32, DType::kBfloat16, DType::kFloat16,
                                       DType::kInt8,    DType::kFp8,      DType::kMxfp4};

/// Whether values are codes times a scale of their block.
[[nodiscard]] constexpr bool is_scaled(DType type) {
  return type >= DType::kInt8;
}

/// Bytes of so many elements, scales not counted. @param elements  even for kMxfp4
[[nodiscard]] constexpr std::int64_t bytes_of(DType type, std::int64_t elements) {
  if (type == DType::kMxfp4) return elements / 2;
  return type == DType::kFloat32 ? 4 * elements : is_scaled(type) ? elements : 2 * elements;
}
[[nodiscard]] constexpr std::string_view name_of(DType type) {
  constexpr std::string_view kNames[] = {"float32", "bfloat16", "float16", "int8", "fp8", "mxfp4"};
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

// ---- FP8: OCP 8-bit e4m3, 1 sign, 4 exponent (bias 7) and 3 fraction bits. No infinities; 0x7f
// and 0xff are NaN. Source: OCP 8-bit Floating Point Specification (OFP8) 1.0, section 5.

inline constexpr float kFp8Most = 448.0F;
[[nodiscard]] constexpr bool is_fp8_nan(std::uint8_t code) {
  return (code & 0x7fU) == 0x7fU;
}

/// Exact, subnormals and NaN included.
[[nodiscard]] constexpr float widen_fp8(std::uint8_t code) {
  const std::uint32_t magnitude = code & 0x7fU;
  const std::uint32_t sign = (code & 0x80U) << 24U;
  if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000U);
  if (magnitude < 8) {  // zero or subnormal: units of 2^-9
    return std::bit_cast<float>(
        sign | std::bit_cast<std::uint32_t>(static_cast<float>(magnitude) * 0x1p-9F));
  }
  return std::bit_cast<float>(sign | ((magnitude << 20U) + (120U << 23U)));
}

/// Round to nearest, ties to even; beyond 448 it is 448, and a NaN stays one. No branches, so that
/// loops of it become vectors.
[[nodiscard]] constexpr std::uint8_t narrow_fp8(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t any = bits & 0x7fffffffU;
  const std::uint32_t most = std::bit_cast<std::uint32_t>(kFp8Most);
  const std::uint32_t magnitude = any > most ? most : any;
  const std::uint32_t normal =
      ((magnitude + 0x7ffffU + ((magnitude >> 20U) & 1U)) >> 20U) - (120U << 3U);
  // Added to 2^14, the last bit of a subnormal is worth 2^-9.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14F) -
      std::bit_cast<std::uint32_t>(0x1p14F);
  const std::uint32_t finite = magnitude < (121U << 23U) ? subnormal : normal;
  return static_cast<std::uint8_t>(((bits >> 24U) & 0x80U) | (any > 0x7f800000U ? 0x7fU : finite));
}

// ---- MXFP4: blocks of 32 values e2m1 (1 sign, 2 exponent, 1 fraction bits) that share a power of
// two. Source: OCP Microscaling Formats (MX) 1.0, sections 5.3.3 and 6.3.

inline constexpr std::int64_t kMxfp4Block = 32;
inline constexpr float kFp4Values[] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                                       -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};

/// 2^(scale - 127); 255 is NaN. Exact.
[[nodiscard]] constexpr float widen_e8m0(std::uint8_t scale) {
  const std::uint32_t edge = scale == 0 || scale == 255 ? 0x400000U : 0U;  // 2^-127, NaN
  return std::bit_cast<float>((static_cast<std::uint32_t>(scale) << 23U) | edge);
}

/// The code whose value is nearest, ties to the even code; beyond 6 it is 6. @pre not NaN
[[nodiscard]] constexpr std::uint8_t narrow_fp4(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const float a = std::bit_cast<float>(bits & 0x7fffffffU);
  const int code = (a > 0.25F ? 1 : 0) + (a >= 0.75F ? 1 : 0) + (a > 1.25F ? 1 : 0) +
                   (a >= 1.75F ? 1 : 0) + (a > 2.5F ? 1 : 0) + (a >= 3.5F ? 1 : 0) +
                   (a > 5.0F ? 1 : 0);
  return static_cast<std::uint8_t>(((bits >> 28U) & 8U) | static_cast<std::uint32_t>(code));
}
}  // namespace switchyard::experts
