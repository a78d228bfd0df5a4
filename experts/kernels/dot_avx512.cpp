// SPDX-License-Identifier: Apache-2.0
// int8 for AVX-512: dot products of four bytes (VNNI), and weights widened for float32 products.
#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_chain_avx512.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

/// vpdpbusd takes one unsigned side: the weights, moved up by 128. What that adds to a sum depends
/// on the row alone, and its note takes it off again; all of it is exact.
struct Bytes {
  /// Written out, because GCC 12 copies the sums around the intrinsic, half of them through memory.
  [[gnu::always_inline]] static void add_products(__m512i& sum, __m512i weights, __m512i x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(x));
  }
  /// One plane of one group: products[r][c], plus 254 times what is there for a second plane.
  template <unsigned kRows>
  [[gnu::noinline]] static void multiply(const std::byte* row, std::int64_t row_stride,
                                         const std::byte* weights, bool second,
                                         std::int32_t* products, Streams& streams) {
    const __m512i up = _mm512_set1_epi8(-128);
    Streams ahead = streams;
    __m512i low[kRows];
    __m512i high[kRows];
    const auto times = [](__m512i sum) __attribute__((always_inline)) {
      static_assert(kPlaneRadix == 256 - 2);
      return _mm512_sub_epi32(_mm512_slli_epi32(sum, 8), _mm512_add_epi32(sum, sum));
    };
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const std::int32_t* at = products + r.value * kColumns;
      low[r.value] = second ? times(_mm512_load_si512(at)) : _mm512_setzero_si512();
      high[r.value] = second ? times(_mm512_load_si512(at + 16)) : _mm512_setzero_si512();
    });
    const RowPointers<kRows> rows(row, row_stride);
    for (std::int64_t k = 0; k < kGroup / 4; ++k, weights += 128) {
      if (k % 8 == 0) ahead.fetch();
      const __m512i w = _mm512_xor_si512(_mm512_load_si512(weights), up);
      const __m512i v = _mm512_xor_si512(_mm512_load_si512(weights + 64), up);
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const __m512i x = _mm512_set1_epi32(rows.word(r, k));
        add_products(low[r.value], w, x);
        add_products(high[r.value], v, x);
      });
    }
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      std::int32_t* at = products + r.value * kColumns;
      _mm512_store_si512(at, low[r.value]);
      _mm512_store_si512(at + 16, high[r.value]);
    });
    streams = ahead;
  }

  template <unsigned kRows>
  static void run(const Block& b, std::int64_t first_row, Streams ahead) {
    alignas(64) std::int32_t products[kRows * kColumns];
    const std::int64_t groups = (b.depth + kGroup - 1) / kGroup;
    const std::int64_t stride = b.layout.row_stride;
    const std::byte* row = b.rows + first_row * stride;
    const std::byte* panel = b.panel;
    for (std::int64_t g = 0; g < groups; ++g, panel += kGroupBytes, row += kGroup) {
      const std::byte* weights = panel + kColumns * 4;
      multiply<kRows>(row, stride, weights, false, products, ahead);
      if (b.second_plane != 0) {
        multiply<kRows>(row + b.second_plane, stride, weights, true, products, ahead);
      }
      const auto* scales = reinterpret_cast<const float*>(panel);
      const bool first = b.first && g == 0;
      for (std::int64_t r = 0; r < kRows; ++r) {
        const Note note = note_of(b, first_row + r, g);
        const __m512i down = _mm512_set1_epi32(note.offset);
        const __m512 scale = _mm512_set1_ps(note.scale);
        float* at = b.sums + (first_row + r) * kColumns;
        for (std::int64_t c = 0; c < kColumns; c += 16) {
          const __m512i sum =
              _mm512_add_epi32(_mm512_load_si512(products + r * kColumns + c), down);
          const __m512 before = first ? _mm512_setzero_ps() : _mm512_load_ps(at + c);
          const __m512 both = _mm512_mul_ps(_mm512_load_ps(scales + c), scale);
          _mm512_store_ps(at + c, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), both, before));
        }
      }
    }
  }
};

/// A group of an int8 panel in float32: [128][32].
void widen_int8(const std::byte* group, float* wide) {
  const auto* scales = reinterpret_cast<const float*>(group);
  for (std::int64_t half = 0; half < 2; ++half) {
    const __m512 scale = _mm512_load_ps(scales + 16 * half);
    for (std::int64_t step = 0; step < kGroup / 4; ++step) {
      const __m512i bytes = _mm512_load_si512(group + kColumns * 4 + step * 128 + half * 64);
      float* out = wide + step * 4 * kColumns + half * 16;
      const auto put = [&](std::int64_t k, __m512i word) {
        const __m512 value = _mm512_cvtepi32_ps(_mm512_srai_epi32(word, 24));
        _mm512_store_ps(out + k * kColumns, _mm512_mul_ps(value, scale));
      };
      put(0, _mm512_slli_epi32(bytes, 24));
      put(1, _mm512_slli_epi32(bytes, 16));
      put(2, _mm512_slli_epi32(bytes, 8));
      put(3, bytes);
    }
  }
}
}  // namespace

Kernels avx512_int8() {
  return {.name = "int8",
          .engine = "avx512-vnni",
          .element_bytes = 1,
          .group_note_bytes = sizeof(Note),
          .rows_a_block = 12,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_int8,
          .accumulate = each_rows<Bytes, 12, 32>};
}
Kernels avx512_widened_int8() {
  return {.name = "float32",
          .engine = "avx512",
          .element_bytes = 4,
          .rows_a_block = 12,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_float32,
          .accumulate = accumulate_widened<Chain, 12, widen_int8, kGroupBytes>};
}
}  // namespace switchyard::experts::dot
#endif
