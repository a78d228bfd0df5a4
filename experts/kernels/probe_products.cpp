// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/probe.hpp"

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

/// Twenty-four chains in registers, in assembly: GCC 12 stores every sum every round, if asked by
/// intrinsics, and shows half of what the processor does.
template <bool kInt8>
[[gnu::target("avx512f"), gnu::noinline]] double multiply_vectors() {
  std::int64_t steps = 4 * kSteps;
  asm volatile(
      ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24\n\t"
      "vpxord %%zmm\\sum, %%zmm\\sum, %%zmm\\sum\n\t"
      ".endr\n\t"
      ".p2align 6\n"
      "1:\n\t"
      ".irp sum, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n\t"
      ".if %c[int8]\n\t"
      "vpdpbusd %%zmm24, %%zmm24, %%zmm\\sum\n\t"
      ".else\n\t"
      "vdpbf16ps %%zmm24, %%zmm24, %%zmm\\sum\n\t"
      ".endif\n\t"
      ".endr\n\t"
      "dec %[steps]\n\t"
      "jnz 1b\n\t"
      "vzeroupper"
      : [steps] "+r"(steps)
      : [int8] "i"(kInt8 ? 1 : 0)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19",
        "xmm20", "xmm21", "xmm22", "xmm23", "xmm24");
  return 2.0 * (kInt8 ? 64 : 32) * 24 * 4 * static_cast<double>(kSteps);
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
  if (engine == "avx512-bf16") return multiply_vectors<false>();
  if (engine == "avx512-vnni") return multiply_vectors<true>();
#else
  static_cast<void>(math);
  static_cast<void>(stored);
#endif
  return probe_multiply_adds(isa);
}
}  // namespace switchyard::experts
