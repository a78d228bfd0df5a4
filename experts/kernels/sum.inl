// SPDX-License-Identifier: Apache-2.0
// The combine of one token: its results, times their weights, added up in the order of their slots.
// Every product and every sum rounds once, so all instruction sets give the same bits.
namespace switchyard::experts::panel {
namespace {

/// Vectors that are summed side by side: each row is read a cache line or two at a time.
constexpr unsigned kSumVectors = 4;

template <unsigned kVectors>
[[gnu::always_inline]] inline void sum_columns(const float* const* rows, const float* weights,
                                               std::int64_t num_rows, std::int64_t first,
                                               float* out) {
  Float sums[kVectors];
  for (Float& sum : sums) sum = Simd::set(0.0F);
  for (std::int64_t r = 0; r < num_rows; ++r) {
    const Float weight = Simd::set(weights[r]);
    const float* const row = rows[r] + first;
#pragma GCC unroll 4
    for (unsigned v = 0; v < kVectors; ++v) {
      sums[v] = Simd::add(sums[v], Simd::mul(weight, Simd::load_unaligned(row + v * Simd::kLanes)));
    }
  }
  for (unsigned v = 0; v < kVectors; ++v)
    Simd::store_unaligned(out + first + v * Simd::kLanes, sums[v]);
}

void weighted_sum(const float* const* rows, const float* weights, std::int64_t num_rows,
                  std::int64_t width, float* out) {
  std::int64_t c = 0;
  constexpr std::int64_t kStep = kSumVectors * Simd::kLanes;
  for (; c + kStep <= width; c += kStep) sum_columns<kSumVectors>(rows, weights, num_rows, c, out);
  for (; c + Simd::kLanes <= width; c += Simd::kLanes) {
    sum_columns<1>(rows, weights, num_rows, c, out);
  }
  for (; c < width; ++c) {
    float sum = 0.0F;
    for (std::int64_t r = 0; r < num_rows; ++r) sum += weights[r] * rows[r][c];
    out[c] = sum;
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
