// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a model remembers of a sequence, and what looking at it costs.
#include <cstdint>

#include "runtime/model/model.hpp"

namespace switchyard::runtime {

/// float32 elements that all layers together keep of one sequence of `context` tokens: keys and
/// values (no more than the window or chunk lets a layer see), latents, recurrent states.
[[nodiscard]] std::int64_t cache_elements(const Model& model, std::int64_t context);

/// Operations of all layers for one new token that sees `context` others, beside the products with
/// weights.
[[nodiscard]] double attention_flops(const Model& model, std::int64_t context);
}  // namespace switchyard::runtime
