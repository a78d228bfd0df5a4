// SPDX-License-Identifier: Apache-2.0
// int8 for AVX-512: dot products of four bytes (VNNI), and weights widened for float32 products.
#if defined(__x86_64__)
#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_bytes_avx512.inl"
#include "experts/kernels/dot_chain_avx512.inl"
#include "experts/kernels/dot_quantise_avx512.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

struct Bytes {
  template <unsigned kRows>
  [[gnu::noinline]] static void run(const Block& b, std::int64_t first_row, Streams streams) {
    const bool two_planes = b.second_plane != 0;
    const std::int64_t groups = (b.depth + kGroup - 1) / kGroup;
    const std::int64_t steps = groups * (two_planes ? 2 : 1) * (kGroup / 4);
    constexpr bool kNear = kRows <= kNearRows;
    Ahead ahead(b, streams, steps, two_planes ? kLine : 2 * kLine, kNear);
    const std::int64_t stride = b.layout.row_stride;
    const std::byte* row = b.rows + first_row * stride;
    const std::byte* panel = b.panel;
    float* sums = b.sums + first_row * kColumns;
    if (b.first) __builtin_memset(sums, 0, kRows * kColumns * sizeof(float));
    ByteGroup group;
    group.to_words = b.second_plane - kGroup;
    for (std::int64_t g = 0; g < groups; ++g, panel += kGroupBytes, row += kGroup) {
      const std::byte* weights = panel + kColumns * 4;
      for (std::int64_t i = 0; i < 4; ++i) streams.fetch();
      if (ahead.lone) ahead.fetch<kNear>(kColumns * 4);
      for (std::int64_t r = 0; r < kRows; ++r) group.notes[r] = note_of(b, first_row + r, g);
      if (two_planes) {
        add_bytes<kRows, true>(row, stride, weights, panel, group, ahead, sums);
      } else {
        add_bytes<kRows, false>(row, stride, weights, panel, group, ahead, sums);
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
          .rows_a_block = kByteRows,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = quantise_int8,
          .accumulate = each_rows<Bytes, kByteRows, 32>};
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
