// SPDX-License-Identifier: Apache-2.0
#if defined(__x86_64__)
#include <cstddef>
#include <cstdint>

#include "experts/kernels/rows.hpp"

namespace switchyard::experts::rows {
namespace {
constexpr unsigned kLanes = 16;
#include "experts/kernels/rows.inl"
}  // namespace

Kernels avx512_kernels() {
  return {.sum = sum, .scale = scale};
}
}  // namespace switchyard::experts::rows
#endif
