// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/probe.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace switchyard::experts {
namespace {
#if defined(__x86_64__)
constexpr std::int64_t kSteps = 20'000;

/// Four tiles of sums, so that a product need not wait for the one before, and the products apart,
/// as in dot_amx.cpp and for its reason. The tiles are zero: what they hold does not change how
/// long it takes.
template <bool kInt8>
double multiply_tiles() {
  struct alignas(64) Config {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  const Config config;
  asm volatile("ldtilecfg %0" : : "m"(config));
  asm volatile("tilezero %%tmm4\n\ttilezero %%tmm5\n\ttilezero %%tmm6\n\ttilezero %%tmm7" : :);
  asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3" : :);
  for (std::int64_t i = 0; i < kSteps; ++i) {
    if constexpr (kInt8) {
      asm volatile(
          "tdpbssd %%tmm6, %%tmm4, %%tmm0\n\t.rept 8\n\tnop\n\t.endr\n\t"
          "tdpbssd %%tmm7, %%tmm4, %%tmm1\n\t.rept 8\n\tnop\n\t.endr\n\t"
          "tdpbssd %%tmm6, %%tmm5, %%tmm2\n\t.rept 8\n\tnop\n\t.endr\n\t"
          "tdpbssd %%tmm7, %%tmm5, %%tmm3\n\t.rept 8\n\tnop\n\t.endr\n\t"
          :
          :);
    } else {
      asm volatile(
          "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t.rept 8\n\tnop\n\t.endr\n\t"
          "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t.rept 8\n\tnop\n\t.endr\n\t"
          "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t.rept 8\n\tnop\n\t.endr\n\t"
          "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n\t.rept 8\n\tnop\n\t.endr\n\t"
          :
          :);
    }
  }
  asm volatile("tilerelease" : :);
  constexpr double kProducts = 16 * 16 * (kInt8 ? 64 : 32);
  return 2 * kProducts * 4 * static_cast<double>(kSteps);
}

[[gnu::target("avx512f,avx512bf16"), gnu::noinline]] double multiply_pairs() {
  __m512 sums[24];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  __m512i bits = _mm512_setzero_si512();
  asm volatile("" : "+v"(bits));  // or the products are worked out by the compiler
  const auto factor = reinterpret_cast<__m512bh>(bits);
  for (std::int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, factor, factor);
  }
  for (int i = 1; i < 24; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  asm volatile("" : : "v"(sums[0]));
  return 2.0 * 32 * 24 * static_cast<double>(kSteps);
}

[[gnu::target("avx512f,avx512vnni"), gnu::noinline]] double multiply_quads() {
  __m512i sums[24];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  __m512i factor = _mm512_setzero_si512();
  asm volatile("" : "+v"(factor));
  for (std::int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 24
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, factor, factor);
  }
  for (int i = 1; i < 24; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  asm volatile("" : : "v"(sums[0]));
  return 2.0 * 64 * 24 * static_cast<double>(kSteps);
}
#endif
}  // namespace

std::string_view probed_products(Isa isa, Math math, DType stored) {
  const char* const engine = dots_of(isa, math, stored).engine;
  for (const std::string_view known : {"amx-bf16", "avx512-bf16", "amx-int8", "avx512-vnni"}) {
    if (engine != nullptr && engine == known) return known;
  }
  return "float32";
}

double probe_products(Isa isa, Math math, DType stored) {
#if defined(__x86_64__)
  const std::string_view engine = probed_products(isa, math, stored);
  if (engine == "amx-bf16") return multiply_tiles<false>();
  if (engine == "amx-int8") return multiply_tiles<true>();
  if (engine == "avx512-bf16") return multiply_pairs();
  if (engine == "avx512-vnni") return multiply_quads();
#else
  static_cast<void>(math);
  static_cast<void>(stored);
#endif
  return probe_multiply_adds(isa);
}
}  // namespace switchyard::experts
