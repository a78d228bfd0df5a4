// SPDX-License-Identifier: Apache-2.0
// Included by rows_*.cpp, each compiled for its own instructions, inside an unnamed namespace.
// Needs kLanes, the width of a vector.

using Vector [[gnu::vector_size(kLanes * sizeof(float))]] = float;

Vector load(const float* from) {
  Vector vector;
  __builtin_memcpy(&vector, from, sizeof vector);
  return vector;
}
void store(float* to, Vector vector) {
  __builtin_memcpy(to, &vector, sizeof vector);
}

/// Sums of this many vectors of columns stay in registers over all rows.
template <std::size_t kVectors>
void sum_columns(const float* const* rows, const float* weights, std::int64_t count, std::int64_t c,
                 float* out) {
  Vector sums[kVectors] = {};
  for (std::int64_t r = 0; r < count; ++r) {
    const float* const row = rows[r] + c;
    const Vector weight = weights[r] - Vector{};
#pragma GCC unroll 8
    for (std::size_t v = 0; v < kVectors; ++v) sums[v] += weight * load(row + v * kLanes);
  }
#pragma GCC unroll 8
  for (std::size_t v = 0; v < kVectors; ++v) store(out + c + v * kLanes, sums[v]);
}

void sum(const float* const* rows, const float* weights, std::int64_t count, std::int64_t cols,
         float* out) {
  constexpr std::size_t kVectors = 8;
  std::int64_t c = 0;
  constexpr auto kStep = static_cast<std::int64_t>(kVectors * kLanes);
  for (; c + kStep <= cols; c += kStep) {
    sum_columns<kVectors>(rows, weights, count, c, out);
  }
  for (; c + kLanes <= cols; c += kLanes) sum_columns<1>(rows, weights, count, c, out);
  for (; c < cols; ++c) {
    float total = 0;
    for (std::int64_t r = 0; r < count; ++r) total += weights[r] * rows[r][c];
    out[c] = total;
  }
}

void scale(const float* from, float factor, std::int64_t cols, float* to) {
  const Vector factors = factor - Vector{};
  std::int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) store(to + c, factors * load(from + c));
  for (; c < cols; ++c) to[c] = factor * from[c];
}
