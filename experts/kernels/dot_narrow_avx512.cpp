// SPDX-License-Identifier: Apache-2.0
// FP8 and MXFP4 for AVX-512: float32 products of weights that are widened in registers for few
// rows, and once into the first cache for many.
#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_ahead.inl"
#include "experts/kernels/dot_chain_avx512.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

/// Codes become float16 of exponents that are 8 less, which the processor widens exactly,
/// subnormals included; the scale makes up for it.
struct Fp8 {
  static constexpr std::int64_t kBytes = kGroupBytes;
  static constexpr std::int64_t kPart = 2;   ///< inputs of a step
  static constexpr unsigned kAheadRows = 1;  ///< from here on as one stream, if at all: measured

  /// Calls f(input, low, high), columns 0 to 15 and 16 to 31, for every input of a group, and
  /// fetches what is so far ahead.
  template <class F>
  [[gnu::always_inline]] static void each(const std::byte* group, std::int64_t ahead, const F& f) {
    const auto* scales = reinterpret_cast<const float*>(group);
    const __m512 up = _mm512_set1_ps(0x1p8F);
    const __m512 low = _mm512_mul_ps(_mm512_load_ps(scales), up);
    const __m512 high = _mm512_mul_ps(_mm512_load_ps(scales + 16), up);
    const __m512i kept = _mm512_set1_epi16(static_cast<std::int16_t>(0xbf80));
    const std::byte* codes = group + kColumns * 4;
    const auto give = [&](std::int64_t k, __m512i top_bytes) __attribute__((always_inline)) {
      const __m512i half = _mm512_and_si512(_mm512_srai_epi16(top_bytes, 1), kept);
      f(k, _mm512_mul_ps(_mm512_cvtph_ps(_mm512_castsi512_si256(half)), low),
        _mm512_mul_ps(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1)), high));
    };
    for (std::int64_t k = 0; k < kGroup; k += kPart, codes += 64) {
      const __m512i pairs = _mm512_load_si512(codes);
      __builtin_prefetch(codes + ahead, 0, 2);
      give(k, _mm512_slli_epi16(pairs, 8));
      give(k + 1, pairs);
    }
  }
};

/// A lookup of sixteen values takes the low four bits of a lane.
struct Mxfp4 {
  static constexpr std::int64_t kBytes = kMxfp4GroupBytes;
  static constexpr std::int64_t kPart = 8;
  static constexpr unsigned kAheadRows = 6;

  [[gnu::always_inline]] static __m512 scale_of(const std::byte* bytes) {
    const __m512i wide =
        _mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
    const __mmask16 at_edge = _mm512_cmpeq_epi32_mask(wide, _mm512_setzero_si512()) |
                              _mm512_cmpeq_epi32_mask(wide, _mm512_set1_epi32(255));
    const __m512i bits = _mm512_slli_epi32(wide, 23);  // but 2^-127 and NaN
    return _mm512_castsi512_ps(
        _mm512_mask_or_epi32(bits, at_edge, bits, _mm512_set1_epi32(0x400000)));
  }
  template <class F>
  [[gnu::always_inline]] static void each(const std::byte* group, std::int64_t ahead, const F& f) {
    const __m512 values = _mm512_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F, -0.0F,
                                         -0.5F, -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F);
    const std::byte* codes = group + kGroup;
    for (std::int64_t block = 0; block < 4; ++block) {
      const __m512 low_scale = scale_of(group + block * kColumns);
      const __m512 high_scale = scale_of(group + block * kColumns + 16);
      for (std::int64_t k = 32 * block; k < 32 * block + 32; k += kPart, codes += 128) {
        const __m512i low = _mm512_load_si512(codes);
        const __m512i high = _mm512_load_si512(codes + 64);
        __builtin_prefetch(codes + ahead, 0, 2);
        __builtin_prefetch(codes + ahead + 64, 0, 2);
        unrolled<kPart>([&](auto j) __attribute__((always_inline)) {
          constexpr unsigned kShift = 4 * j.value;
          const __m512 a = _mm512_permutexvar_ps(_mm512_srli_epi32(low, kShift), values);
          const __m512 b = _mm512_permutexvar_ps(_mm512_srli_epi32(high, kShift), values);
          f(k + j.value, _mm512_mul_ps(a, low_scale), _mm512_mul_ps(b, high_scale));
        });
      }
    }
  }
};

/// How far ahead a pass that reads its panel once fetches; 0: its streams do that.
std::int64_t ahead_here() {
  return reads_ahead() ? kFarBytes : 0;
}

template <class Type>
void widen(const std::byte* group, float* wide) {
  Type::each(
      group,
      ahead_here(), [&](std::int64_t k, __m512 low, __m512 high) __attribute__((always_inline)) {
        _mm512_store_ps(wide + k * kColumns, low);
        _mm512_store_ps(wide + k * kColumns + 16, high);
      });
}

/// Few rows: every weight is widened where it is used, so that widening runs beside the chains.
template <class Type>
struct Direct {
  template <unsigned kRows>
  static void run(const Block& b, std::int64_t first_row, Streams streams) {
    const std::int64_t ahead = kRows >= Type::kAheadRows ? ahead_here() : 0;
    if (ahead != 0) streams.left = 0;
    const std::int64_t groups = b.depth / kGroup;
    const std::int64_t stride = b.layout.row_stride;
    const std::byte* row = b.rows + first_row * stride;
    float* sums = b.sums + first_row * kColumns;
    for (std::int64_t g = 0; g < groups; ++g) {
      streams.fetch();
      group<kRows>(b.panel + g * Type::kBytes, row + g * kGroup * 4, stride, b.first && g == 0,
                   ahead, sums);
    }
    if (groups * kGroup == b.depth) return;
    alignas(64) float wide[kGroup * kColumns];
    streams.fetch();
    widen<Type>(b.panel + groups * Type::kBytes, wide);
    Chain{wide, b.depth - groups * kGroup}.template run<kRows>(b, first_row, groups * kGroup,
                                                               b.first && groups == 0);
  }

  template <unsigned kRows>
  [[gnu::noinline]] static void group(const std::byte* panel, const std::byte* row,
                                      std::int64_t stride, bool fresh, std::int64_t ahead,
                                      float* sums) {
    __m512 low[kRows];
    __m512 high[kRows];
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      const float* at = sums + r.value * kColumns;
      low[r.value] = fresh ? _mm512_setzero_ps() : _mm512_load_ps(at);
      high[r.value] = fresh ? _mm512_setzero_ps() : _mm512_load_ps(at + 16);
    });
    const RowPointers<kRows> rows(row, stride);
    Type::each(
        panel, ahead, [&](std::int64_t k, __m512 w, __m512 v) __attribute__((always_inline)) {
          unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
            const __m512 x = _mm512_set1_ps(rows.number(r, k));
            low[r.value] = _mm512_fmadd_ps(w, x, low[r.value]);
            high[r.value] = _mm512_fmadd_ps(v, x, high[r.value]);
          });
        });
    unrolled<kRows>([&](auto r) __attribute__((always_inline)) {
      float* at = sums + r.value * kColumns;
      _mm512_store_ps(at, low[r.value]);
      _mm512_store_ps(at + 16, high[r.value]);
    });
  }
};

constexpr unsigned kFewRows = 12;

template <class Type>
void accumulate(const Block& b) {
  if (b.num_rows <= kFewRows) return each_rows<Direct<Type>, kFewRows, kGroup>(b);
  accumulate_widened<Chain, kFewRows, widen<Type>, Type::kBytes>(b);
}

template <class Type>
Kernels kernels() {
  return {.name = "float32",
          .engine = "avx512",
          .element_bytes = 4,
          .rows_a_block = kFewRows,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_float32,
          .accumulate = accumulate<Type>};
}
}  // namespace

Kernels avx512_fp8() {
  return kernels<Fp8>();
}
Kernels avx512_mxfp4() {
  return kernels<Mxfp4>();
}
}  // namespace switchyard::experts::dot
#endif
