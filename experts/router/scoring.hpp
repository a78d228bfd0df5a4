// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// From the logits of one token to its scores. Everything is computed in double, by ascending
/// expert, and rounded to float32 once; -inf hides an expert and stays what it is until scored.
#include <span>

#include "experts/kernels/exp.hpp"
#include "experts/router/spec.hpp"

namespace switchyard::experts {

/// z becomes (z - mean) / std * factor over the experts that are not hidden, std the unbiased one
/// (n - 1). All equal, or one alone: 0.
/// Source: Skywork-MoE technical report, gating logit normalisation.
void standardise(std::span<double> logits, double factor);

/// z becomes limit * tanh(z / limit).
void cap_by_tanh(std::span<double> logits, double limit);

/// The spec's transform: widens the logits and changes them.
/// @param logits       [experts]
/// @param transformed  [experts], out
void transform_logits(const RouterSpec& spec, std::span<const float> logits,
                      std::span<double> transformed);

/// scores = softmax over all experts; a hidden one gets exactly 0.
/// @param work  [experts], destroyed
void softmax_scores(std::span<const double> transformed, portable::ExpEach exp_each,
                    std::span<double> work, std::span<float> scores);

/// scores = 1 / (1 + e^-z), with the bits of portable::sigmoid; a hidden one gets exactly 0.
/// @param work  [experts], destroyed
void sigmoid_scores(std::span<const double> transformed, portable::ExpEach exp_each,
                    std::span<double> work, std::span<float> scores);

/// scores = the transformed logits themselves.
void plain_scores(std::span<const double> transformed, std::span<float> scores);

/// The spec's scoring. The sparse mixer's scores are a softmax, whatever the spec's scoring is.
void score_logits(const RouterSpec& spec, std::span<const double> transformed,
                  portable::ExpEach exp_each, std::span<double> work, std::span<float> scores);
}  // namespace switchyard::experts
