// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Exact arithmetic for capacities. 100 * 1.1 * 3 / 10 is 33 and must not become 34 because 1.1 has
/// no binary form: a factor means the shortest decimal that reads back as it.
#include <cstdint>

namespace switchyard::experts {

enum class Rounding { kUp, kDown, kHalfEven };

/// rows * factor / parts in exact decimal arithmetic, rounded once; at most the largest int64.
/// @param rows    at least 0
/// @param factor  0, or in [kSmallestFactor, kLargestFactor]
/// @param parts   in [1, 2^31)
[[nodiscard]] std::int64_t exact_share(std::int64_t rows, double factor, std::int64_t parts,
                                       Rounding rounding);

/// Range of a capacity factor that is not 0: exact arithmetic stays within 128 bits.
inline constexpr double kSmallestFactor = 1e-6;
inline constexpr double kLargestFactor = 1e6;
}  // namespace switchyard::experts
