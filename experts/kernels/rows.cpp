// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/rows.hpp"

namespace switchyard::experts::rows {

Kernels kernels_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512_kernels();
  if (isa == Isa::kAvx2) return avx2_kernels();
#endif
  static_cast<void>(isa);
  return portable_kernels();
}
}  // namespace switchyard::experts::rows
