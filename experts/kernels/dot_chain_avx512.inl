// SPDX-License-Identifier: Apache-2.0
// Float32 products of widened weights for dot_rows.inl, by AVX-512.
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

/// One chain of fused multiply-adds a sum, as in panel.inl.
struct Chain {
  const float* wide;  ///< [depth][32]
  std::int64_t depth;

  template <unsigned kRows>
  [[gnu::noinline]] void run(const Block& b, std::int64_t first_row, std::int64_t first_input,
                             bool first) const {
    __m512 low[kRows];
    __m512 high[kRows];
    float* sums = b.sums + first_row * kColumns;
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const float* at = sums + r.value * kColumns;
      low[r.value] = first ? _mm512_setzero_ps() : _mm512_load_ps(at);
      high[r.value] = first ? _mm512_setzero_ps() : _mm512_load_ps(at + 16);
    });
    const RowPointers<kRows> rows(b.rows + first_row * b.layout.row_stride + first_input * 4,
                                  b.layout.row_stride);
    const float* weights = wide;
    for (std::int64_t k = 0; k < depth; ++k, weights += kColumns) {
      const __m512 w = _mm512_load_ps(weights);
      const __m512 v = _mm512_load_ps(weights + 16);
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const __m512 x = _mm512_set1_ps(rows.number(r, k));
        low[r.value] = _mm512_fmadd_ps(w, x, low[r.value]);
        high[r.value] = _mm512_fmadd_ps(v, x, high[r.value]);
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
}  // namespace switchyard::experts::dot
