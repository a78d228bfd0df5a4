// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From the name of an instruction set to its kernels.
#include "experts/kernels/isa.hpp"
#include "experts/kernels/panel.hpp"

namespace switchyard::experts {

/// @param isa  one that this processor has: from best_isa or isa_from
[[nodiscard]] panel::Kernels kernels_of(Isa isa);
}  // namespace switchyard::experts
