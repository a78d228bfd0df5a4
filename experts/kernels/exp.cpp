// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/exp.hpp"

namespace switchyard::experts::portable {

ExpEach exp_each_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512_exp_each();
  if (isa == Isa::kAvx2) return avx2_exp_each();
#endif
  static_cast<void>(isa);
  return portable_exp_each();
}
}  // namespace switchyard::experts::portable
