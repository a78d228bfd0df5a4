// SPDX-License-Identifier: Apache-2.0
// The kernels for AVX2 with FMA: 6 rows x 16 columns are 12 of the 16 registers, so a panel is gone
// through twice: columns 0..7 with 16..23, then 8..15 with 24..31.
#if defined(__x86_64__)
#include <cstddef>
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/math.hpp"
#include "experts/kernels/panel.hpp"

namespace switchyard::experts::panel {
namespace {
struct Simd {
  using Float = __m256;
  static constexpr int kLanes = 8;
  static constexpr unsigned kMaxRows = 6;
  static constexpr bool kUsesAnyOrder = false;
  static constexpr bool kReadsAhead = false;

  static Float set(float x) { return _mm256_set1_ps(x); }
  static Float load(const float* p) { return _mm256_load_ps(p); }
  static Float load_unaligned(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Float x) { _mm256_store_ps(p, x); }
  static void store_unaligned(float* p, Float x) { _mm256_storeu_ps(p, x); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }  // a < b ? a : b
  static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }  // a > b ? a : b
  static Float negative_magnitude(Float x) { return _mm256_or_ps(x, _mm256_set1_ps(-0.0F)); }
  static Float where_positive(Float x, Float a, Float b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ));
  }
  static Float shift_bits_left_23(Float x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23));
  }
  /// bfloat16 in the low (even) and high (odd) halves of 8 words.
  static Float even(const std::byte* p) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)), 16));
  }
  static Float odd(const std::byte* p) {
    return _mm256_castsi256_ps(_mm256_and_si256(
        _mm256_load_si256(reinterpret_cast<const __m256i*>(p)), _mm256_set1_epi32(-0x10000)));
  }
  static Float half(const std::byte* p) {  // 8 float16
    return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

/// Four Philox counters, one in the low half of every 64-bit lane.
struct Lanes {
  using Word = __m256i;
  static constexpr std::uint64_t kBlocks = 4;

  static Word set(std::uint64_t x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
  /// first + the lane's place in what store() writes.
  static Word count_from(std::uint64_t first) {
    return _mm256_add_epi64(set(first), _mm256_setr_epi64x(0, 2, 1, 3));
  }
  static Word multiply(Word a, Word b) { return _mm256_mul_epu32(a, b); }
  static Word high(Word a) { return _mm256_srli_epi64(a, 32); }
  static Word add(Word a, Word b) { return _mm256_add_epi64(a, b); }
  static Word exclusive_or(Word a, Word b, Word c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
  }
  static void store(Word a, Word b, Word c, Word d, float scale, float amplitude, float* out) {
    const Word first = _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa);
    const Word second = _mm256_blend_epi32(c, _mm256_slli_epi64(d, 32), 0xaa);
    put(_mm256_unpacklo_epi64(first, second), scale, amplitude, out);
    put(_mm256_unpackhi_epi64(first, second), scale, amplitude, out + 8);
  }
  static void put(Word words, float scale, float amplitude, float* out) {
    const __m256 u =
        _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srai_epi32(words, 8)), _mm256_set1_ps(scale));
    _mm256_storeu_ps(out, _mm256_mul_ps(u, _mm256_set1_ps(amplitude)));
  }
};
}  // namespace
}  // namespace switchyard::experts::panel

#include "experts/kernels/encode.inl"
#include "experts/kernels/inner.inl"
#include "experts/kernels/panel.inl"
#include "experts/kernels/philox.inl"
#include "experts/kernels/softmax.inl"
#include "experts/kernels/sum.inl"

namespace switchyard::experts::panel {
Kernels avx2_kernels() {
  return {Simd::kMaxRows, pack_rows,    run,         fill,       finish_sums, weighted_sum,
          exponentials,   largest_bits, encode_int8, encode_fp8, encode_mxfp4};
}
}  // namespace switchyard::experts::panel
#endif
