// SPDX-License-Identifier: Apache-2.0
// int8 for AVX2: sums of bytes in 16 and then 32 bits, and weights widened for float32 products.
#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_chain_avx2.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

inline __m256i load(const std::byte* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

/// vpmaddubsw takes one unsigned side and saturates at 16 bits: the weights' magnitudes and the
/// inputs with the weights' signs, none over 127, stay below that.
struct Bytes {
  template <unsigned kRows>
  [[gnu::noinline]] static void run(const Block& b, std::int64_t first_row, Streams ahead) {
    const __m256i ones = _mm256_set1_epi16(1);
    const std::int64_t groups = (b.depth + kGroup - 1) / kGroup;
    const std::byte* panel = b.panel;
    for (std::int64_t g = 0; g < groups; ++g, panel += kGroupBytes) {
      __m256i sums[kRows][4];
      unrolled<kRows * 4>([&](auto i) __attribute__((always_inline)) {
        sums[i.value / 4][i.value % 4] = _mm256_setzero_si256();
      });
      const auto add_plane = [&](std::int64_t plane) __attribute__((always_inline)) {
        const RowPointers<kRows> rows(b.rows + first_row * b.layout.row_stride + g * kGroup + plane,
                                      b.layout.row_stride);
        const std::byte* weights = panel + kColumns * 4;
        for (std::int64_t k = 0; k < kGroup / 4; ++k, weights += 128) {
          if (k % 8 == 0) ahead.fetch();
          unrolled<4>([&](auto part) __attribute__((always_inline)) {
            const __m256i w = load(weights + 32 * part.value);
            const __m256i magnitude = _mm256_abs_epi8(w);
            unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
              const __m256i x = _mm256_sign_epi8(_mm256_set1_epi32(rows.word(r, k)), w);
              const __m256i products = _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, x), ones);
              sums[r.value][part.value] = _mm256_add_epi32(sums[r.value][part.value], products);
            });
          });
        }
      };
      add_plane(0);
      if (b.second_plane != 0) {
        const __m256i radix = _mm256_set1_epi32(kPlaneRadix);
        unrolled<kRows * 4>([&](auto i) __attribute__((always_inline)) {
          __m256i& sum = sums[i.value / 4][i.value % 4];
          sum = _mm256_mullo_epi32(sum, radix);
        });
        add_plane(b.second_plane);
      }
      const auto* scales = reinterpret_cast<const float*>(panel);
      const bool first = b.first && g == 0;
      unrolled<kRows * 4>([&](auto i) __attribute__((always_inline)) {
        const std::int64_t row = first_row + i.value / 4;
        float* at = b.sums + row * kColumns + i.value % 4 * 8;
        const __m256 scale = _mm256_mul_ps(_mm256_load_ps(scales + i.value % 4 * 8),
                                           _mm256_set1_ps(note_of(b, row, g).scale));
        const __m256 sum = first ? _mm256_setzero_ps() : _mm256_load_ps(at);
        const __m256 value = _mm256_cvtepi32_ps(sums[i.value / 4][i.value % 4]);
        _mm256_store_ps(at, _mm256_fmadd_ps(value, scale, sum));
      });
    }
  }
};

void widen_int8(const std::byte* group, float* wide) {
  const auto* scales = reinterpret_cast<const float*>(group);
  for (std::int64_t part = 0; part < 4; ++part) {
    const __m256 scale = _mm256_load_ps(scales + 8 * part);
    for (std::int64_t step = 0; step < kGroup / 4; ++step) {
      const __m256i bytes = load(group + kColumns * 4 + step * 128 + part * 32);
      float* out = wide + step * 4 * kColumns + part * 8;
      const auto put = [&](std::int64_t k, __m256i word) {
        const __m256 value = _mm256_cvtepi32_ps(_mm256_srai_epi32(word, 24));
        _mm256_store_ps(out + k * kColumns, _mm256_mul_ps(value, scale));
      };
      put(0, _mm256_slli_epi32(bytes, 24));
      put(1, _mm256_slli_epi32(bytes, 16));
      put(2, _mm256_slli_epi32(bytes, 8));
      put(3, bytes);
    }
  }
}
}  // namespace

Kernels avx2_int8() {
  return {.name = "int8",
          .engine = "avx2",
          .element_bytes = 1,
          .group_note_bytes = sizeof(Note),
          .rows_a_block = 2,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_int8,
          .accumulate = each_rows<Bytes, 2, 32>};
}
Kernels avx2_widened_int8() {
  return {.name = "float32",
          .engine = "avx2",
          .element_bytes = 4,
          .rows_a_block = 6,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_float32,
          .accumulate = accumulate_widened<Chain, 6, widen_int8, kGroupBytes>};
}
}  // namespace switchyard::experts::dot
#endif
