// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/isa.hpp"

#include <stdexcept>
#include <string>

#include "experts/kernels/ahead.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace switchyard::experts {
namespace {

#if defined(__x86_64__)
/// Asked by hand: not every compiler's __builtin_cpu_supports knows it.
bool has_f16c() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

bool is_here(Isa isa) {
#if defined(__x86_64__)
  // These ask the operating system too: it has to save the wide registers.
  if (isa == Isa::kAvx2) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  }
  if (isa == Isa::kAvx512) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("fma");
  }
#endif
  return isa == Isa::kPortable;
}
}  // namespace

Isa best_isa() {
  Isa best = Isa::kPortable;
  for (const Isa isa : kAllIsas) {
    if (is_here(isa)) best = isa;
  }
  return best;
}

Isa isa_from(std::string_view name) {
  if (name == "auto") return best_isa();
  std::string here = "auto";
  for (const Isa isa : kAllIsas) {
    if (is_here(isa)) here.append(", ").append(name_of(isa));
  }
  for (const Isa isa : kAllIsas) {
    if (name != name_of(isa)) continue;
    if (is_here(isa)) return isa;
    throw std::invalid_argument("isa: this processor has no " + std::string(name) + ", want " +
                                here);
  }
  throw std::invalid_argument("isa: got " + std::string(name) + ", want " + here);
}

bool reads_ahead() {
#if defined(__x86_64__)
  return __builtin_cpu_is("amd") != 0;
#else
  return false;
#endif
}

std::string_view name_of(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kPortable:
      break;
  }
  return "portable";
}
}  // namespace switchyard::experts
