// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Logits of one token: the parts that are not a matrix product, and the check that all must pass.
#include <cstdint>
#include <span>

namespace switchyard::experts {

/// What lies between the two layers of an MLP router: v becomes tanh(v), rounded once.
void tanh_layer(std::span<float> values);

/// Attention over the experts inside one token: z_i = sum over j of softmax_j(q_i k_j) v_j, without
/// a 1 / sqrt(n). In double, j ascending, rounded once.
/// Source: Yuan2.0-M32 (arXiv:2405.17976), section 3.1.
void attention_logits(std::span<const float> query, std::span<const float> key,
                      std::span<const float> value, std::span<float> logits);

/// @param token   its number in this batch, for the message
/// @param wanted  how many finite logits the choice needs; experts that choose need none
/// @throws std::invalid_argument  "token 17: logit of expert 3 is nan, want a finite number or
/// -inf"
/// @throws std::invalid_argument  "token 17: 1 of 8 logits are finite, want at least 2"
void check_logits(std::int64_t token, std::span<const float> logits, std::int64_t wanted);
}  // namespace switchyard::experts
