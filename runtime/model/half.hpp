// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// IEEE 754 binary16 ("F16") to float32; exact, subnormals, infinities and NaNs included.
#include <bit>
#include <cstdint>

namespace switchyard::runtime {

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
}  // namespace switchyard::runtime
