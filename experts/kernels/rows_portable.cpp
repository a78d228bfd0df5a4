// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "experts/kernels/rows.hpp"

namespace switchyard::experts::rows {
namespace {
constexpr unsigned kLanes = 4;
#include "experts/kernels/rows.inl"
}  // namespace

Kernels portable_kernels() {
  return {.sum = sum, .scale = scale};
}
}  // namespace switchyard::experts::rows
