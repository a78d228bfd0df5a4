// SPDX-License-Identifier: Apache-2.0
#include "comm/wire/wire_type.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

namespace switchyard::comm {
namespace {
constexpr float kInt8Most = 127.0F;
constexpr float kFp8Most = 448.0F;
constexpr std::size_t kScaleBytes = sizeof(float);

/// Round to nearest, ties to even; a NaN keeps its sign and stays one.
std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
  const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  return static_cast<std::uint16_t>(nan ? (bits >> 16U) | 0x40U : rounded);
}

/// e4m3 without infinities: bias 7, largest 448 (0x7E). @pre |value| <= 448
std::uint8_t to_fp8(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  // 2^14 has a last place of 2^-9, the step below 2^-6: the addition rounds to it.
  constexpr float kStep = 16384.0F;
  const std::uint32_t small =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + kStep) -
      std::bit_cast<std::uint32_t>(kStep);
  constexpr std::uint32_t kRebias = std::uint32_t{127 - 7} << 23U;
  const std::uint32_t normal = (magnitude - kRebias + 0x7FFFFU + ((magnitude >> 20U) & 1U)) >> 20U;
  constexpr std::uint32_t kLeastNormal = std::uint32_t{127 - 6} << 23U;
  return static_cast<std::uint8_t>((magnitude < kLeastNormal ? small : normal) |
                                   ((bits >> 24U) & 0x80U));
}

constexpr std::array<float, 256> fp8_values() {
  std::array<float, 256> values{};
  for (std::uint32_t code = 0; code < 256; ++code) {
    const std::uint32_t exponent = (code >> 3U) & 15U;
    const std::uint32_t fraction = code & 7U;
    float value = static_cast<float>(exponent == 0 ? fraction : 8 + fraction) / 512.0F;
    for (std::uint32_t i = 1; i < exponent; ++i) value *= 2.0F;
    if ((code & 0x7FU) == 0x7FU) value = std::numeric_limits<float>::quiet_NaN();
    values[code] = (code & 0x80U) != 0 ? -value : value;
  }
  return values;
}
constexpr std::array<float, 256> kFp8Values = fp8_values();

/// Largest magnitude over `most`; NaN if any value is not finite, 0 for a row of zeros.
float scale_of(std::span<const float> row, float most) {
  std::uint32_t largest = 0;  // magnitudes order like their bits, with infinity and NaN on top
  for (const float value : row) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU);
  }
  if (largest >= 0x7F800000U) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>(largest) / most;
}

/// What values are multiplied with. A row so small that 1 / scale is infinite is all zeros: below
/// 2^-126, where float32 itself has no full precision left.
float inverse_of(float scale) {
  const float inverse = 1.0F / scale;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

void narrow_int8(std::span<const float> row, std::byte* to) {
  const float scale = scale_of(row, kInt8Most);
  std::memcpy(to, &scale, kScaleBytes);
  const float inverse = inverse_of(scale);
  auto* const codes = reinterpret_cast<std::int8_t*>(to + kScaleBytes);
  // 1.5 * 2^23 has a last place of 1: the addition rounds to it, and its low byte is the integer.
  constexpr float kWhole = 12582912.0F;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const float value = std::min(std::max(row[i] * inverse, -kInt8Most), kInt8Most);
    codes[i] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(value + kWhole) & 0xFFU);
  }
}

void narrow_fp8(std::span<const float> row, std::byte* to) {
  const float scale = scale_of(row, kFp8Most);
  std::memcpy(to, &scale, kScaleBytes);
  const float inverse = inverse_of(scale);
  auto* const codes = reinterpret_cast<std::uint8_t*>(to + kScaleBytes);
  for (std::size_t i = 0; i < row.size(); ++i) {
    codes[i] = to_fp8(std::min(std::max(row[i] * inverse, -kFp8Most), kFp8Most));
  }
}
}  // namespace

std::string_view name_of(WireType type) {
  switch (type) {
    case WireType::kFloat32:
      break;
    case WireType::kBfloat16:
      return "bfloat16";
    case WireType::kInt8:
      return "int8";
    case WireType::kFp8:
      return "fp8";
  }
  return "float32";
}

WireType wire_type_from(std::string_view name) {
  for (const WireType type :
       {WireType::kFloat32, WireType::kBfloat16, WireType::kInt8, WireType::kFp8}) {
    if (name_of(type) == name) return type;
  }
  throw std::invalid_argument("wire: got '" + std::string(name) +
                              "', want float32, bfloat16, int8 or fp8");
}

std::string_view bound_of(WireType type) {
  switch (type) {
    case WireType::kFloat32:
      break;
    case WireType::kBfloat16:
      return "each value within 2^-8 of itself";
    case WireType::kInt8:
      return "each value within 1/254 of its row's largest";
    case WireType::kFp8:
      return "each value within 2^-4 of itself, or 2^-10/448 of its row's largest";
  }
  return "";
}

double error_bound(WireType type, double value, double largest) {
  constexpr double kRounding = 0x1p-20;
  switch (type) {
    case WireType::kFloat32:
      break;
    case WireType::kBfloat16:
      return value * 0x1p-8;
    case WireType::kInt8:
      return largest / 254 * (1 + 254 * kRounding);
    case WireType::kFp8:
      return std::max(value * 0x1p-4, largest / 448 * 0x1p-10) * (1 + 16 * kRounding);
  }
  return 0;
}

std::int64_t wire_bytes(WireType type, std::int64_t floats) {
  constexpr std::int64_t kWord = 4;
  const auto whole_words = [](std::int64_t bytes) { return (bytes + kWord - 1) / kWord * kWord; };
  if (type == WireType::kFloat32) return floats * 4;
  if (type == WireType::kBfloat16) return whole_words(floats * 2);
  return static_cast<std::int64_t>(kScaleBytes) + whole_words(floats);
}

void narrow(WireType type, std::span<const float> row, std::byte* to) {
  switch (type) {
    case WireType::kFloat32:
      std::memcpy(to, row.data(), row.size_bytes());
      return;
    case WireType::kBfloat16: {
      auto* const codes = reinterpret_cast<std::uint16_t*>(to);
      for (std::size_t i = 0; i < row.size(); ++i) codes[i] = to_bfloat16(row[i]);
      return;
    }
    case WireType::kInt8:
      narrow_int8(row, to);
      return;
    case WireType::kFp8:
      narrow_fp8(row, to);
      return;
  }
}

void widen(WireType type, const std::byte* from, std::span<float> row) {
  if (type == WireType::kFloat32) {
    std::memcpy(row.data(), from, row.size_bytes());
    return;
  }
  if (type == WireType::kBfloat16) {
    const auto* const codes = reinterpret_cast<const std::uint16_t*>(from);
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = std::bit_cast<float>(static_cast<std::uint32_t>(codes[i]) << 16U);
    }
    return;
  }
  float scale = 0;
  std::memcpy(&scale, from, kScaleBytes);
  from += kScaleBytes;
  if (type == WireType::kInt8) {
    const auto* const codes = reinterpret_cast<const std::int8_t*>(from);
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(codes[i]) * scale;
    return;
  }
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = kFp8Values[static_cast<std::uint8_t>(from[i])] * scale;
  }
}

void narrow_rows(WireType type, const std::byte* from, std::byte* to, std::int64_t floats,
                 std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    const auto* const row = reinterpret_cast<const float*>(from) + i * floats;
    narrow(type, {row, static_cast<std::size_t>(floats)}, to + i * wire_bytes(type, floats));
  }
}

void widen_rows(WireType type, const std::byte* from, std::byte* to, std::int64_t floats,
                std::int64_t first, std::int64_t last) {
  for (std::int64_t i = first; i < last; ++i) {
    auto* const row = reinterpret_cast<float*>(to) + i * floats;
    widen(type, from + i * wire_bytes(type, floats), {row, static_cast<std::size_t>(floats)});
  }
}
}  // namespace switchyard::comm
