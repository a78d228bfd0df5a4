// SPDX-License-Identifier: Apache-2.0
// Rows to bytes by AVX-512: the steps of quantise in dot.inl, sixteen values at a time. Of two
// planes the integers stay whole, as words: dot_bytes_avx512.inl has how they lie.
namespace switchyard::experts::dot {
namespace {

template <bool kTwoPlanes>
[[gnu::always_inline]] inline Note quantise_group(const __m512 (&values)[8], std::byte* first,
                                                  std::byte* second) {
  constexpr std::int32_t kMost = kTwoPlanes ? 127 * kPlaneRadix + 126 : 127;
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i bits = _mm512_setzero_si512();
  for (const __m512 value : values) {
    bits = _mm512_max_epu32(bits, _mm512_and_si512(_mm512_castps_si512(value), magnitude));
  }
  const std::uint32_t most = _mm512_reduce_max_epu32(bits);
  const float largest = __builtin_bit_cast(float, most);
  const bool finite = most < 0x7f800000U;
  if (!finite || largest < 0x1p-100F) {
    __builtin_memset(first, 0, kGroup);
    if (kTwoPlanes) __builtin_memset(second, 0, kGroup);
    return {finite ? 0.0F : __builtin_nanf(""), 0};
  }
  const __m512 inverse = _mm512_set1_ps(static_cast<float>(kMost) / largest);
  const __m512 shift = _mm512_set1_ps(0x1.8p23F);
  const __m512i shift_bits = _mm512_castps_si512(shift);
  const auto integers = [&](std::int64_t i) {
    const __m512 shifted = _mm512_add_ps(_mm512_mul_ps(values[i], inverse), shift);
    return _mm512_sub_epi32(_mm512_castps_si512(shifted), shift_bits);
  };
  const float scale = largest / static_cast<float>(kMost);
  __m512i sum = _mm512_setzero_si512();
  if constexpr (kTwoPlanes) {
    const __m256i apart = _mm256_setr_epi16(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    for (std::int64_t i = 0; i < 8; ++i) {
      const __m512i q = integers(i);
      sum = _mm512_add_epi32(sum, q);
      const __m256i words = _mm256_permutexvar_epi16(apart, _mm512_cvtepi32_epi16(q));
      _mm_store_si128(reinterpret_cast<__m128i*>(first + 16 * i), _mm256_castsi256_si128(words));
      _mm_store_si128(reinterpret_cast<__m128i*>(second + 16 * i),
                      _mm256_extracti128_si256(words, 1));
    }
    constexpr __mmask16 kEven = 0x5555;  // the only ones whose weights are moved up
    return {scale, -128 * _mm512_mask_reduce_add_epi32(kEven, sum)};
  }
  for (std::int64_t i = 0; i < 8; ++i) {
    const __m512i q = integers(i);
    sum = _mm512_add_epi32(sum, q);
    _mm_store_si128(reinterpret_cast<__m128i*>(first + 16 * i), _mm512_cvtepi32_epi8(q));
  }
  return {scale, -128 * _mm512_reduce_add_epi32(sum)};
}

template <bool kTwoPlanes>
void quantise_rows(const Rows& p) {
  for (std::int64_t r = 0; r < p.num_rows; ++r) {
    const __m512 gate = _mm512_set1_ps(p.gates == nullptr ? 1.0F : p.gates[r]);
    const float* row = p.rows[r];
    auto* note = reinterpret_cast<Note*>(p.notes + r * p.notes_stride);
    for (std::int64_t k = 0; k < p.depth; k += kGroup, row += kGroup, ++note) {
      const std::int64_t left = p.depth - k;
      __m512 values[8];
      for (std::int64_t i = 0; i < 8; ++i) {
        const std::int64_t some = left - 16 * i;
        const auto mask =
            static_cast<__mmask16>(some >= 16  ? 0xffffU
                                   : some <= 0 ? 0U
                                               : (1U << static_cast<unsigned>(some)) - 1U);
        values[i] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, row + 16 * i), gate);
      }
      std::byte* out = place_of(p, r, k);
      *note = quantise_group<kTwoPlanes>(values, out, out + p.second_plane);
    }
  }
}

/// Rows row by row: no tiles.
void quantise_int8(const Rows& p) {
  return p.second_plane != 0 ? quantise_rows<true>(p) : quantise_rows<false>(p);
}
}  // namespace
}  // namespace switchyard::experts::dot
