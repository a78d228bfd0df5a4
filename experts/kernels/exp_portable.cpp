// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "experts/kernels/exp.hpp"

namespace switchyard::experts::portable {
namespace {
constexpr std::size_t kVectorBytes = 16;
}  // namespace
}  // namespace switchyard::experts::portable

#include "experts/kernels/exp.inl"

namespace switchyard::experts::portable {
ExpEach portable_exp_each() {
  return exp_all;
}
}  // namespace switchyard::experts::portable
