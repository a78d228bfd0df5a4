// SPDX-License-Identifier: Apache-2.0
// Float32 products of widened weights for dot_rows.inl, by AVX2.
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

/// One chain of fused multiply-adds a sum, as in panel.inl: 16 columns at a time.
struct Chain {
  const float* wide;  ///< [depth][32]
  std::int64_t depth;

  template <unsigned kRows>
  [[gnu::noinline]] void run(const Block& b, std::int64_t first_row, std::int64_t first_input,
                             bool first) const {
    for (std::int64_t half = 0; half < 2; ++half) {
      __m256 low[kRows];
      __m256 high[kRows];
      float* sums = b.sums + first_row * kColumns + half * 16;
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        const float* at = sums + r.value * kColumns;
        low[r.value] = first ? _mm256_setzero_ps() : _mm256_load_ps(at);
        high[r.value] = first ? _mm256_setzero_ps() : _mm256_load_ps(at + 8);
      });
      const RowPointers<kRows> rows(b.rows + first_row * b.layout.row_stride + first_input * 4,
                                    b.layout.row_stride);
      const float* weights = wide + half * 16;
      for (std::int64_t k = 0; k < depth; ++k, weights += kColumns) {
        const __m256 w = _mm256_load_ps(weights);
        const __m256 v = _mm256_load_ps(weights + 8);
        unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
          const __m256 x = _mm256_set1_ps(rows.number(r, k));
          low[r.value] = _mm256_fmadd_ps(w, x, low[r.value]);
          high[r.value] = _mm256_fmadd_ps(v, x, high[r.value]);
        });
      }
      unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
        float* at = sums + r.value * kColumns;
        _mm256_store_ps(at, low[r.value]);
        _mm256_store_ps(at + 8, high[r.value]);
      });
    }
  }
};
}  // namespace
}  // namespace switchyard::experts::dot
