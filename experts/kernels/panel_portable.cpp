// SPDX-License-Identifier: Apache-2.0
// The kernels for any processor: vectors of four by the compiler's own extension, and a fused
// multiply-add that is exact whether or not the processor has one.
#include <cstddef>
#include <cstdint>

#include "experts/kernels/math.hpp"
#include "experts/kernels/panel.hpp"

namespace switchyard::experts::panel {
namespace {
struct Simd {
  using Float [[gnu::vector_size(16)]] = float;
  using Bits [[gnu::vector_size(16)]] = std::uint32_t;
  static constexpr int kLanes = 4;
  static constexpr unsigned kMaxRows = 4;
  static constexpr bool kUsesAnyOrder = false;
  static constexpr bool kReadsAhead = false;

  static Float set(float x) { return Float{x, x, x, x}; }
  static Float load(const float* p) {
    Float x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
  }
  static void store(float* p, Float x) { __builtin_memcpy(p, &x, sizeof x); }
  static Float load_unaligned(const float* p) { return load(p); }
  static void store_unaligned(float* p, Float x) { __builtin_memcpy(p, &x, sizeof x); }
  static Float add(Float a, Float b) { return a + b; }
  static Float sub(Float a, Float b) { return a - b; }
  static Float mul(Float a, Float b) { return a * b; }
  static Float div(Float a, Float b) { return a / b; }
  static Float select(Bits mask, Float a, Float b) {
    return __builtin_bit_cast(
        Float, (mask & __builtin_bit_cast(Bits, a)) | (~mask & __builtin_bit_cast(Bits, b)));
  }
  static Float min(Float a, Float b) { return select(__builtin_bit_cast(Bits, a < b), a, b); }
  static Float max(Float a, Float b) { return select(__builtin_bit_cast(Bits, a > b), a, b); }
  static Float negative_magnitude(Float x) {
    return __builtin_bit_cast(Float, __builtin_bit_cast(Bits, x) | 0x80000000U);
  }
  static Float where_positive(Float x, Float a, Float b) {
    return select(__builtin_bit_cast(Bits, x > 0.0F), a, b);
  }
  static Float shift_bits_left_23(Float x) {
    return __builtin_bit_cast(Float, __builtin_bit_cast(Bits, x) << 23U);
  }
  /// bfloat16 in the low (even) and high (odd) halves of 4 words.
  static Float even(const std::byte* p) {
    std::uint16_t h[8];
    __builtin_memcpy(h, p, sizeof h);
    return __builtin_bit_cast(Float, Bits{h[0], h[2], h[4], h[6]} << 16U);
  }
  static Float odd(const std::byte* p) {
    std::uint16_t h[8];
    __builtin_memcpy(h, p, sizeof h);
    return __builtin_bit_cast(Float, Bits{h[1], h[3], h[5], h[7]} << 16U);
  }
  static Float half(const std::byte* p) {  // 4 float16: exact, the exponent moved by a product
    std::uint16_t h[4];
    __builtin_memcpy(h, p, sizeof h);
    const Bits bits{h[0], h[1], h[2], h[3]};
    const Bits magnitude = (bits & 0x7fffU) << 13U;
    const Float value = __builtin_bit_cast(Float, magnitude) * 0x1p112F;
    const Bits infinite = __builtin_bit_cast(Bits, (bits & 0x7c00U) == 0x7c00U);
    return __builtin_bit_cast(Float, (infinite & (magnitude | 0x7f800000U)) |
                                         (~infinite & __builtin_bit_cast(Bits, value)) |
                                         ((bits & 0x8000U) << 16U));
  }

#if defined(__FP_FAST_FMAF) || defined(__aarch64__)
  static Float fma(Float a, Float b, Float c) {
    return Float{__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]),
                 __builtin_fmaf(a[2], b[2], c[2]), __builtin_fmaf(a[3], b[3], c[3])};
  }
#else
  /// a * b is exact in double; the sum is rounded to odd there (Boldo and Melquiond 2008), which
  /// keeps enough to round it correctly once more, to float32. Whole vectors only: GCC 12 at -O3
  /// gets the same steps wrong when they are written for two lanes at a time.
  static Float fma(Float a, Float b, Float c) {
    using Double [[gnu::vector_size(32)]] = double;
    using Wide [[gnu::vector_size(32)]] = std::int64_t;
    const Double addend = __builtin_convertvector(c, Double);
    const Double product = __builtin_convertvector(a, Double) * __builtin_convertvector(b, Double);
    const Double sum = product + addend;
    const Double back = sum - product;
    const Double lost = (product - (sum - back)) + (addend - back);
    const Wide bits = __builtin_bit_cast(Wide, sum);
    const Wide inexact = (lost < 0.0) | (lost > 0.0);  // false for a nan
    const Wide inwards = (lost < 0.0) ^ (sum < 0.0);   // -1: the exact sum is nearer to zero
    const Wide even = ((bits & 1) - 1) & inexact;
    const Wide odd = bits + (even & (inwards | 1));
    return __builtin_convertvector(__builtin_bit_cast(Double, odd), Float);
  }
#endif
};

/// One Philox counter.
struct Lanes {
  using Word = std::uint64_t;
  static constexpr std::uint64_t kBlocks = 1;

  static Word set(std::uint64_t x) { return x; }
  static Word count_from(std::uint64_t first) { return first; }
  static Word multiply(Word a, Word b) { return (a & 0xffffffffU) * (b & 0xffffffffU); }
  static Word high(Word a) { return a >> 32U; }
  static Word add(Word a, Word b) { return a + b; }
  static Word exclusive_or(Word a, Word b, Word c) { return a ^ b ^ c; }
  static void store(Word a, Word b, Word c, Word d, float scale, float amplitude, float* out) {
    const Word words[4] = {a, b, c, d};
    for (int i = 0; i < 4; ++i) {
      const auto word = static_cast<std::int32_t>(static_cast<std::uint32_t>(words[i]));
      out[i] = static_cast<float>(word >> 8) * scale * amplitude;
    }
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
Kernels portable_kernels() {
  return {Simd::kMaxRows, pack_rows,    run,         fill,       finish_sums, weighted_sum,
          exponentials,   largest_bits, encode_int8, encode_fp8, encode_mxfp4};
}
}  // namespace switchyard::experts::panel
