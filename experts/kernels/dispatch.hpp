// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From the name of an instruction set to its kernels.
#include <string_view>
#include <vector>

#include "experts/dtype.hpp"
#include "experts/kernels/dot.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/kernels/panel.hpp"

namespace switchyard::experts {

/// @param isa  one that this processor has: from best_isa or isa_from
[[nodiscard]] panel::Kernels kernels_of(Isa isa);

/// The kernels of dot.hpp for weights that are stored in this type, or none (accumulate is null)
/// where the panels' own float32 products are to be used.
[[nodiscard]] dot::Kernels dots_of(Isa isa, Math math, DType stored);

/// Every one of them that this processor has, the one to prefer first.
[[nodiscard]] std::vector<dot::Kernels> all_dots_of(Isa isa, Math math, DType stored);

/// What products are really computed in: "float32", "amx-bf16", "avx512-bf16" or "int8". Results
/// with the same name, weights and stored type have the same bits.
[[nodiscard]] std::string_view math_name(Isa isa, Math math, DType stored);

/// "float32" or "native".
[[nodiscard]] std::string_view name_of(Math math);
}  // namespace switchyard::experts
