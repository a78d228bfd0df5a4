// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the chosen experts of one token weigh. In double, in slot order, rounded to float32 once at
/// the end; always from the unbiased scores.
#include <cstdint>
#include <span>

#include "experts/router/spec.hpp"

namespace switchyard::experts {

/// weights[s] = scores[chosen[s]].
void weights_from_scores(std::span<const float> scores, std::span<const std::int32_t> chosen,
                         std::span<double> weights);

/// weights = softmax over the chosen logits.
void weights_from_logits(std::span<const double> transformed, std::span<const std::int32_t> chosen,
                         std::span<double> weights);

/// (sum |w|^p)^(1/p), the same bits on every machine; 0 for weights that are all 0.
[[nodiscard]] double p_norm(std::span<const double> weights, double p);

/// The spec's normalisation. Where the divisor is 0 (every chosen score underflowed and there is no
/// epsilon) the weights are 0: the token gets nothing from experts that it does not want.
void normalise(const RouterSpec& spec, std::span<double> weights);

/// out = weights * scale.
void scale_weights(const RouterSpec& spec, std::span<const double> weights, std::span<float> out);
}  // namespace switchyard::experts
