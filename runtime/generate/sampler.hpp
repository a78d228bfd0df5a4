// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Chooses the next token from logits. A draw depends on the seed, the sequence's number and the
/// token's position, and on nothing else: not on ranks, batches or earlier draws.
#include <cstdint>
#include <span>

namespace switchyard::runtime {

struct SamplerSettings {
  double temperature = 0;  ///< logits are divided by it; 0: the largest logit wins
  std::int64_t top_k = 0;  ///< only so many best tokens; 0: all
  double top_p = 1;        ///< only the fewest best tokens that have this probability together
  std::uint64_t seed = 1;
};

/// @throws std::invalid_argument  "temperature: got -1, want a number from 0"
void validate(const SamplerSettings& settings);

/// The token at `position` of sequence `sequence` (numbered over all ranks). Ties go to the lower
/// id. First temperature, then top_k, then top_p among what is left; probabilities in double, with
/// the same bits on every machine. The number drawn is specified in experts/README.md.
/// @param logits  [vocabulary]; -inf: never
/// @throws std::invalid_argument  a nan, +inf, or nothing above -inf
[[nodiscard]] std::int64_t sample(std::span<const float> logits, const SamplerSettings& settings,
                                  std::int64_t sequence, std::int64_t position);
}  // namespace switchyard::runtime
