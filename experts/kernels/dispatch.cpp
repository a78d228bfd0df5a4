// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/dispatch.hpp"

namespace switchyard::experts {

panel::Kernels kernels_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return panel::avx512_kernels();
  if (isa == Isa::kAvx2) return panel::avx2_kernels();
#endif
  static_cast<void>(isa);
  return panel::portable_kernels();
}
}  // namespace switchyard::experts
