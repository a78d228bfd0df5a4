// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Parts of the oracle's routing. Private to experts/reference and its tests.
#include <array>
#include <cstdint>
#include <vector>

#include "experts/reference.hpp"

namespace switchyard::experts::reference {

/// False for -inf, by which a token hides an expert.
[[nodiscard]] bool is_visible(float logit);

/// Normalises in float64 and slot order, scales, and rounds once.
/// @param weights  of one token's slots
[[nodiscard]] std::vector<float> finish(const RouterSpec& spec, const std::vector<double>& weights);

/// Expert choice: fills offsets, experts and weights from the scores. Each expert takes its
/// C = ceil(factor T / E) best tokens of every routing group, ties to the lower token; a token that
/// hides an expert (logit -inf) is never taken by it.
void choose_tokens(const RouterSpec& spec, const std::vector<float>& selection_bias,
                   Routing& routing);

/// Applies the capacity rule to every routing group: drops, moves and weighs anew.
void apply_capacity(const RouterSpec& spec, Routing& routing);

/// Routing group `number`: tokens [first, last).
struct TokenGroup {
  std::int64_t number = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
};
/// Consecutive groups of capacity.group_tokens tokens, the last one maybe smaller.
[[nodiscard]] std::vector<TokenGroup> token_groups(const RouterSpec& spec, std::int64_t tokens);

/// Whole rows of a product of written decimals, without the noise of its float64 arithmetic: a
/// product within 1e-9 (relative) of a whole or half number is that number, so 1.1 * 10 is 11.
[[nodiscard]] std::int64_t round_up(double product);
[[nodiscard]] std::int64_t round_down(double product);
[[nodiscard]] std::int64_t round_half_even(double product);

/// Philox4x32-10 (Salmon et al. 2011).
[[nodiscard]] std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key);
}  // namespace switchyard::experts::reference
