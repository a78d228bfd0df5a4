// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <cstddef>
#include <cstdint>

#include "experts/kernels/exp.hpp"

namespace switchyard::experts::portable {
namespace {
constexpr std::size_t kVectorBytes = 32;
}  // namespace
}  // namespace switchyard::experts::portable

#include "experts/kernels/exp.inl"

namespace switchyard::experts::portable {
ExpEach avx2_exp_each() {
  return exp_all;
}
}  // namespace switchyard::experts::portable
#endif
