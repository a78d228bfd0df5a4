// SPDX-License-Identifier: Apache-2.0
// FP8 and MXFP4 for AVX2: weights widened for float32 products.
#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_chain_avx2.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

/// Codes become float16 of exponents that are 8 less, which the processor widens exactly,
/// subnormals included; the scale makes up for it.
void widen_fp8(const std::byte* group, float* wide) {
  const auto* scales = reinterpret_cast<const float*>(group);
  const __m256i kept = _mm256_set1_epi16(static_cast<std::int16_t>(0xbf80));
  for (std::int64_t part = 0; part < 2; ++part) {  // 16 columns
    const __m256 up = _mm256_set1_ps(0x1p8F);
    const __m256 low = _mm256_mul_ps(_mm256_load_ps(scales + 16 * part), up);
    const __m256 high = _mm256_mul_ps(_mm256_load_ps(scales + 16 * part + 8), up);
    const auto put = [&](float* out, __m256i top_bytes) {
      const __m256i half = _mm256_and_si256(_mm256_srai_epi16(top_bytes, 1), kept);
      const __m256 a = _mm256_cvtph_ps(_mm256_castsi256_si128(half));
      const __m256 b = _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1));
      _mm256_store_ps(out, _mm256_mul_ps(a, low));
      _mm256_store_ps(out + 8, _mm256_mul_ps(b, high));
    };
    for (std::int64_t step = 0; step < kGroup / 2; ++step) {
      const __m256i pairs = _mm256_load_si256(
          reinterpret_cast<const __m256i*>(group + kColumns * 4 + step * 64 + part * 32));
      float* out = wide + step * 2 * kColumns + part * 16;
      put(out, _mm256_slli_epi16(pairs, 8));
      put(out + kColumns, pairs);
    }
  }
}

void widen_mxfp4(const std::byte* group, float* wide) {
  const __m256 magnitudes = _mm256_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F);
  const __m256i sign = _mm256_set1_epi32(INT32_MIN);
  for (std::int64_t block = 0; block < 4; ++block) {
    for (std::int64_t part = 0; part < 4; ++part) {  // 8 columns
      const __m256i bytes = _mm256_cvtepu8_epi32(
          _mm_loadl_epi64(reinterpret_cast<const __m128i*>(group + block * kColumns + part * 8)));
      const __m256i at_edge = _mm256_or_si256(_mm256_cmpeq_epi32(bytes, _mm256_setzero_si256()),
                                              _mm256_cmpeq_epi32(bytes, _mm256_set1_epi32(255)));
      const __m256 scale = _mm256_castsi256_ps(_mm256_or_si256(
          _mm256_slli_epi32(bytes, 23), _mm256_and_si256(at_edge, _mm256_set1_epi32(0x400000))));
      for (std::int64_t step = 4 * block; step < 4 * block + 4; ++step) {
        const __m256i codes = _mm256_load_si256(
            reinterpret_cast<const __m256i*>(group + kGroup + step * 128 + part * 32));
        float* out = wide + step * 8 * kColumns + part * 8;
        for (int j = 0; j < 8; ++j, out += kColumns) {
          const __m256i code = _mm256_srli_epi32(codes, 4 * j);  // lookups see three bits
          const __m256 value = _mm256_permutevar8x32_ps(magnitudes, code);
          const __m256i signs = _mm256_and_si256(_mm256_slli_epi32(codes, 28 - 4 * j), sign);
          const __m256 both = _mm256_or_ps(value, _mm256_castsi256_ps(signs));
          _mm256_store_ps(out, _mm256_mul_ps(both, scale));
        }
      }
    }
  }
}

/// Of a type whose groups have so many bytes.
template <void (*kWiden)(const std::byte*, float*), std::int64_t kBytes>
Kernels kernels() {
  constexpr unsigned kMostRows = 6;
  return {.name = "float32",
          .engine = "avx2",
          .element_bytes = 4,
          .rows_a_block = kMostRows,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_float32,
          .accumulate = accumulate_widened<Chain, kMostRows, kWiden, kBytes>};
}
}  // namespace

Kernels avx2_fp8() {
  return kernels<widen_fp8, kGroupBytes>();
}
Kernels avx2_mxfp4() {
  return kernels<widen_mxfp4, kMxfp4GroupBytes>();
}
}  // namespace switchyard::experts::dot
#endif
