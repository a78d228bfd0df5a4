// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// e^x for many numbers at once, each with the bits of portable::exp.
#include <cstdint>

#include "experts/kernels/isa.hpp"

namespace switchyard::experts::portable {

/// values[i] = exp(values[i]) for i in [0, count).
using ExpEach = void (*)(double* values, std::int64_t count);

/// @param isa  one that this processor has; changes no bit
[[nodiscard]] ExpEach exp_each_of(Isa isa);

[[nodiscard]] ExpEach portable_exp_each();
#if defined(__x86_64__)
[[nodiscard]] ExpEach avx2_exp_each();
[[nodiscard]] ExpEach avx512_exp_each();
#endif
}  // namespace switchyard::experts::portable
