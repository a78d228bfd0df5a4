// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX-512: 14 rows x 32 columns are 28 of the 32 registers.
#if defined(__x86_64__)
#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/math.hpp"
#include "experts/kernels/panel.hpp"

namespace switchyard::experts::panel {
namespace {
struct Simd {
  using Float = __m512;
  static constexpr int kLanes = 16;
  static constexpr unsigned kMaxRows = 14;
  static constexpr bool kUsesAnyOrder = true;
  static constexpr bool kReadsAhead = true;

  static Float set(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* p) { return _mm512_load_ps(p); }
  static Float load_unaligned(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Float x) { _mm512_store_ps(p, x); }
  static void store_unaligned(float* p, Float x) { _mm512_storeu_ps(p, x); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }  // a < b ? a : b
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }  // a > b ? a : b
  static Float negative_magnitude(Float x) { return _mm512_or_ps(x, _mm512_set1_ps(-0.0F)); }
  static Float where_positive(Float x, Float a, Float b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), b, a);
  }
  static Float shift_bits_left_23(Float x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23));
  }
  /// bfloat16 in the low (even) and high (odd) halves of 16 words.
  static Float even(const std::byte* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_load_si512(p), 16));
  }
  static Float odd(const std::byte* p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_load_si512(p), _mm512_set1_epi32(-0x10000)));
  }
  static Float half(const std::byte* p) {  // 16 float16
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
};

/// Eight Philox counters, one in the low half of every 64-bit lane.
struct Lanes {
  using Word = __m512i;
  static constexpr std::uint64_t kBlocks = 8;

  static Word set(std::uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
  /// first + the lane's place in what store() writes.
  static Word count_from(std::uint64_t first) {
    return _mm512_add_epi64(set(first), _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
  }
  static Word multiply(Word a, Word b) { return _mm512_mul_epu32(a, b); }
  static Word high(Word a) { return _mm512_srli_epi64(a, 32); }
  static Word add(Word a, Word b) { return _mm512_add_epi64(a, b); }
  static Word exclusive_or(Word a, Word b, Word c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
  }
  static void store(Word a, Word b, Word c, Word d, float scale, float amplitude, float* out) {
    const __mmask16 odd = 0xaaaa;
    const Word first = _mm512_mask_mov_epi32(a, odd, _mm512_slli_epi64(b, 32));
    const Word second = _mm512_mask_mov_epi32(c, odd, _mm512_slli_epi64(d, 32));
    put(_mm512_unpacklo_epi64(first, second), scale, amplitude, out);
    put(_mm512_unpackhi_epi64(first, second), scale, amplitude, out + 16);
  }
  static void put(Word words, float scale, float amplitude, float* out) {
    const __m512 u =
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srai_epi32(words, 8)), _mm512_set1_ps(scale));
    _mm512_storeu_ps(out, _mm512_mul_ps(u, _mm512_set1_ps(amplitude)));
  }
};
}  // namespace
}  // namespace switchyard::experts::panel

#include "experts/kernels/encode.inl"
#include "experts/kernels/inner_avx512.inl"
#include "experts/kernels/panel.inl"
#include "experts/kernels/philox.inl"
#include "experts/kernels/softmax.inl"
#include "experts/kernels/sum.inl"

namespace switchyard::experts::panel {
Kernels avx512_kernels() {
  return {Simd::kMaxRows, pack_rows,    run,         fill,       finish_sums, weighted_sum,
          exponentials,   largest_bits, encode_int8, encode_fp8, encode_mxfp4};
}
}  // namespace switchyard::experts::panel
#endif
