// SPDX-License-Identifier: Apache-2.0
// Dot products of bfloat16 pairs (AVX512_BF16), for processors without tiles: 12 rows x 32 columns
// of sums in registers.
#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_ahead.inl"
#include "experts/kernels/dot_bfloat16.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

struct Pairs {
  /// Sums of kRows rows over a run of inputs.
  template <unsigned kRows>
  [[gnu::noinline]] static void run(const Block& b, std::int64_t first_row, Streams streams) {
    constexpr bool kNear = kRows <= kNearRows;
    __m512 low[kRows];
    __m512 high[kRows];
    float* sums = b.sums + first_row * kColumns;
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const float* at = sums + r.value * kColumns;
      low[r.value] = b.first ? _mm512_setzero_ps() : _mm512_load_ps(at);
      high[r.value] = b.first ? _mm512_setzero_ps() : _mm512_load_ps(at + 16);
    });
    const std::byte* weights = b.panel;
    const RowPointers<kRows> rows(b.rows + first_row * b.layout.row_stride, b.layout.row_stride);
    const std::int64_t pairs = (b.depth + 1) / 2;
    Ahead ahead(b, streams, pairs, 128, kNear);
    for (std::int64_t k = 0; k < pairs; ++k, weights += 128) {
      if (k % 16 == 0) streams.fetch();
      ahead.fetch<kNear>();
      const auto w = __builtin_bit_cast(__m512bh, _mm512_load_si512(weights));
      const auto v = __builtin_bit_cast(__m512bh, _mm512_load_si512(weights + 64));
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const auto x = __builtin_bit_cast(__m512bh, _mm512_set1_epi32(rows.word(r, k)));
        low[r.value] = _mm512_dpbf16_ps(low[r.value], w, x);
        high[r.value] = _mm512_dpbf16_ps(high[r.value], v, x);
      });
    }
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      float* at = sums + r.value * kColumns;
      _mm512_store_ps(at, low[r.value]);
      _mm512_store_ps(at + 16, high[r.value]);
    });
  }
};
}  // namespace

Kernels avx512_bfloat16() {
  return {.name = "avx512-bf16",
          .engine = "avx512-bf16",
          .element_bytes = 2,
          .rows_a_block = 12,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_bfloat16,
          .pack_values = pack_bfloat16_values,
          .accumulate = each_rows<Pairs, 12, 32>};
}
}  // namespace switchyard::experts::dot
#endif
