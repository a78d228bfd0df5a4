// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The activations and the gated unit, one value at a time; the same bits as the kernels' vectors.
#include "experts/weights.hpp"

namespace switchyard::experts {

/// act(x); kClampedSwiglu alone is SiLU.
[[nodiscard]] float activate(Activation activation, float x);

/// act(gate) * up, or gpt-oss's clamped unit; every operation rounds once, in the order
/// (clamp(up) + 1) * (g * sigmoid(alpha * g)).
[[nodiscard]] float gated_unit(const ExpertSpec& spec, float gate, float up);
}  // namespace switchyard::experts
