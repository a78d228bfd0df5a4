// SPDX-License-Identifier: Apache-2.0
// Rows and values in bfloat16, for the kernels of AVX-512: after dot.inl.
namespace switchyard::experts::dot {
namespace {

/// Sixteen float32 to bfloat16, to nearest, ties to even; a NaN stays one.
inline void store_bfloat16(__m512 values, std::byte* out) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i high = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i up = _mm512_srli_epi32(
      _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512i nan = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  const __m512i rounded = _mm512_mask_mov_epi32(up, is_nan, nan);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(rounded));
}

void pack_bfloat16(const Rows& p) {
  constexpr std::int64_t kAtOnce = 16;
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const __m512 gate = _mm512_set1_ps(p.gates == nullptr ? 1.0F : p.gates[r]);
    const float* row = p.rows[r];
    for (std::int64_t k = 0; k < p.depth; k += 2 * kAtOnce, row += 2 * kAtOnce) {
      std::byte* out = place_of(p, r, 2 * k);
      const std::int64_t left = p.depth - k;
      const __mmask32 some = left < 2 * kAtOnce ? (1U << static_cast<unsigned>(left)) - 1 : ~0U;
      const auto low = static_cast<__mmask16>(some);
      const auto high = static_cast<__mmask16>(some >> 16U);
      store_bfloat16(_mm512_mul_ps(_mm512_maskz_loadu_ps(low, row), gate), out);
      store_bfloat16(_mm512_mul_ps(_mm512_maskz_loadu_ps(high, row + kAtOnce), gate),
                     out + 2 * kAtOnce);
    }
  }
}

void pack_bfloat16_values(const Values& v) {
  constexpr std::int64_t kAtOnce = 16;
  alignas(64) std::byte rounded[2 * kColumns];
  const float* values = v.values;
  for (std::int64_t r = 0; r < v.num_rows; ++r, values += kColumns) {
    std::byte* out = place_of(v, v.first_row + r, v.first);
    if (v.count == kAtOnce) {  // the usual case
      store_bfloat16(_mm512_load_ps(values), out);
      continue;
    }
    store_bfloat16(_mm512_load_ps(values), rounded);
    store_bfloat16(_mm512_load_ps(values + kAtOnce), rounded + 2 * kAtOnce);
    __builtin_memcpy(out, rounded, static_cast<std::size_t>(2 * v.count));
  }
}
}  // namespace
}  // namespace switchyard::experts::dot
