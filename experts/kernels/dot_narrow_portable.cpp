// SPDX-License-Identifier: Apache-2.0
// FP8 and MXFP4 for any processor: weights widened for float32 products.
#include <cstdint>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_chain_portable.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

/// An e4m3 code that is no NaN, times 2^-8: as a float16 its exponent is 8 less. Exact.
float as_half(unsigned code) {
  const unsigned exponent = (code >> 3U) & 15U;
  const unsigned fraction = code & 7U;
  const float magnitude =
      exponent == 0 ? static_cast<float>(fraction) * 0x1p-17F
                    : __builtin_bit_cast(float, ((exponent + 112U) << 23U) | (fraction << 20U));
  return (code & 128U) != 0 ? -magnitude : magnitude;
}

void widen_fp8(const std::byte* group, float* wide) {
  const auto* scales = reinterpret_cast<const float*>(group);
  const auto* codes = reinterpret_cast<const std::uint8_t*>(group + kColumns * 4);
  float values[256];
  for (unsigned code = 0; code < 256; ++code) values[code] = as_half(code);
  for (std::int64_t k = 0; k < kGroup; ++k) {
    const std::uint8_t* step = codes + k / 2 * 2 * kColumns + k % 2;
    for (std::int64_t c = 0; c < kColumns; ++c) {
      wide[k * kColumns + c] = values[step[2 * c]] * (scales[c] * 0x1p8F);
    }
  }
}

void widen_mxfp4(const std::byte* group, float* wide) {
  constexpr float kValues[] = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,  4.0F,  6.0F,
                               -0.0F, -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F};
  const auto* scales = reinterpret_cast<const std::uint8_t*>(group);
  const auto* codes = scales + kGroup;
  for (std::int64_t k = 0; k < kGroup; ++k) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const unsigned scale = scales[k / 32 * kColumns + c];
      const unsigned edge = scale == 0 || scale == 255 ? 0x400000U : 0U;  // 2^-127, NaN
      const unsigned pair = codes[k / 8 * 4 * kColumns + 4 * c + k % 8 / 2];
      wide[k * kColumns + c] =
          kValues[(pair >> (k % 2 * 4)) & 15U] * __builtin_bit_cast(float, (scale << 23U) | edge);
    }
  }
}

/// Of a type whose groups have so many bytes.
template <void (*kWiden)(const std::byte*, float*), std::int64_t kBytes>
Kernels kernels() {
  constexpr unsigned kMostRows = 1;
  return {.name = "float32",
          .engine = "portable",
          .element_bytes = 4,
          .rows_a_block = kMostRows,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_float32,
          .accumulate = accumulate_widened<Chain, kMostRows, kWiden, kBytes>};
}
}  // namespace

Kernels portable_fp8() {
  return kernels<widen_fp8, kGroupBytes>();
}
Kernels portable_mxfp4() {
  return kernels<widen_mxfp4, kMxfp4GroupBytes>();
}
}  // namespace switchyard::experts::dot
