// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which instructions the kernels use. Every one gives the same bits: all sums are chains of fused
/// multiply-adds in the order of the inner dimension, and vectors run across outputs.
#include <string_view>

namespace switchyard::experts {

enum class Isa { kPortable, kAvx2, kAvx512 };
inline constexpr Isa kAllIsas[] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512};

/// What products are computed in. kFloat32: whatever the stored type, one set of bits over all
/// instruction sets. kNative: the processor's dot products for the stored type, where it has any.
enum class Math { kFloat32, kNative };

/// The widest that this processor has.
[[nodiscard]] Isa best_isa();
/// "portable", "avx2", "avx512"; "auto" is best_isa().
/// @throws std::invalid_argument  unknown, or not on this processor
[[nodiscard]] Isa isa_from(std::string_view name);
[[nodiscard]] std::string_view name_of(Isa isa);
}  // namespace switchyard::experts
