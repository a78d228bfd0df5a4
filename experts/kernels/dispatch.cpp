// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/dispatch.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace switchyard::experts {
namespace {
#if defined(__x86_64__)
/// Whether this processor has the tiles for a type, and the system lets this process use them. It
/// has to be asked, because tiles make the saved state of a thread larger; asking again is
/// harmless.
bool may_use_tiles(unsigned type_bit) {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned kTiles = 1U << 24U;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kTiles) == 0 || (d & type_bit) == 0) return false;
#if defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
constexpr unsigned kTileBfloat16 = 1U << 22U;
constexpr unsigned kTileInt8 = 1U << 25U;

std::vector<dot::Kernels> native_bfloat16(Isa isa) {
  std::vector<dot::Kernels> all;
  if (isa != Isa::kAvx512) return all;
  if (may_use_tiles(kTileBfloat16)) all.push_back(dot::amx_bfloat16());
  if (__builtin_cpu_supports("avx512bf16")) all.push_back(dot::avx512_bfloat16());
  return all;
}
std::vector<dot::Kernels> native_int8(Isa isa) {
  std::vector<dot::Kernels> all;
  if (isa == Isa::kAvx512 && may_use_tiles(kTileInt8)) all.push_back(dot::amx_int8());
  if (isa == Isa::kAvx512 && __builtin_cpu_supports("avx512vnni")) {
    all.push_back(dot::avx512_int8());
  }
  if (isa >= Isa::kAvx2) all.push_back(dot::avx2_int8());
  all.push_back(dot::portable_int8());
  return all;
}
std::vector<dot::Kernels> widened_int8(Isa isa) {
  if (isa == Isa::kAvx512) return {dot::avx512_widened_int8()};
  return {isa == Isa::kAvx2 ? dot::avx2_widened_int8() : dot::portable_widened_int8()};
}
std::vector<dot::Kernels> widened_fp8(Isa isa) {
  if (isa == Isa::kAvx512) return {dot::avx512_fp8()};
  return {isa == Isa::kAvx2 ? dot::avx2_fp8() : dot::portable_fp8()};
}
std::vector<dot::Kernels> widened_mxfp4(Isa isa) {
  if (isa == Isa::kAvx512) return {dot::avx512_mxfp4()};
  return {isa == Isa::kAvx2 ? dot::avx2_mxfp4() : dot::portable_mxfp4()};
}
#else
std::vector<dot::Kernels> native_bfloat16(Isa /*isa*/) {
  return {};
}
std::vector<dot::Kernels> native_int8(Isa /*isa*/) {
  return {dot::portable_int8()};
}
std::vector<dot::Kernels> widened_int8(Isa /*isa*/) {
  return {dot::portable_widened_int8()};
}
std::vector<dot::Kernels> widened_fp8(Isa /*isa*/) {
  return {dot::portable_fp8()};
}
std::vector<dot::Kernels> widened_mxfp4(Isa /*isa*/) {
  return {dot::portable_mxfp4()};
}
#endif
}  // namespace

panel::Kernels kernels_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return panel::avx512_kernels();
  if (isa == Isa::kAvx2) return panel::avx2_kernels();
#endif
  static_cast<void>(isa);
  return panel::portable_kernels();
}

std::vector<dot::Kernels> all_dots_of(Isa isa, Math math, DType stored) {
  if (stored == DType::kFp8) return widened_fp8(isa);
  if (stored == DType::kMxfp4) return widened_mxfp4(isa);
  if (stored == DType::kInt8) return math == Math::kNative ? native_int8(isa) : widened_int8(isa);
  if (stored == DType::kBfloat16 && math == Math::kNative) return native_bfloat16(isa);
  return {};
}

dot::Kernels dots_of(Isa isa, Math math, DType stored) {
  const std::vector<dot::Kernels> all = all_dots_of(isa, math, stored);
  return all.empty() ? dot::Kernels{} : all.front();
}

std::string_view math_name(Isa isa, Math math, DType stored) {
  const char* name = dots_of(isa, math, stored).name;
  return name == nullptr ? "float32" : name;
}

std::string_view name_of(Math math) {
  return math == Math::kNative ? "native" : "float32";
}
}  // namespace switchyard::experts
