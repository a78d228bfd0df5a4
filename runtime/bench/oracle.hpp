// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How far a bench lets results be from the float64 reference before it times them.
#include <cstdint>
#include <span>

namespace switchyard::runtime::bench {

/// Root mean square of the difference over that of what is wanted; infinite if anything is not
/// finite.
[[nodiscard]] double error_of_rms(std::span<const double> want, std::span<const float> got);

/// The most that error_of_rms may be. float32 products of `depth` terms in one chain err by less
/// than u sqrt(depth) of rms (u = 2^-24, random signs), three of them in a row and a sum of slots:
/// eight times that. Rounded activations (bfloat16: 2^-9 each, int8: 1/254 of the largest of a
/// group) come to 3.2e-3 and 6.3e-3 for experts of presets: 1.5e-2. With fewer than 32 inputs or
/// outputs one row can be further off by chance.
[[nodiscard]] double error_limit(bool float32_products, std::int64_t depth);
}  // namespace switchyard::runtime::bench
