// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which experts one token goes to. Choices compare float32; ties go to the lower expert, and
/// between groups to the lower group. -inf is never chosen.
#include <cstdint>
#include <span>
#include <vector>

#include "experts/router/spec.hpp"

namespace switchyard::experts {

/// What is compared: the scores, plus the selection bias where there is one, and -inf for hidden
/// experts, so that a score that underflowed to 0 still beats an expert that is not there.
/// @param logits  [experts]; says who is hidden
/// @param bias    [experts] or empty
/// @param choice  [experts], out
void choice_scores(std::span<const float> logits, std::span<const float> scores,
                   std::span<const float> bias, std::span<float> choice);

/// A group's standing: its best choice score, or the sum (in float32) of its two best; of one where
/// it has, or shows, one; -inf where it shows none.
[[nodiscard]] float group_standing(GroupScore rule, std::span<const float> group);

/// Leaves the experts of the best groups and sets the others to -inf.
/// @param choice  [experts]; groups are equal and consecutive
/// @param work    overwritten
void keep_groups(const RouterSpec& spec, std::span<float> choice, std::vector<std::uint64_t>& work);

/// @throws std::invalid_argument  "token 17: 1 finite logits in the kept groups, want at least 2"
void check_kept(std::int64_t token, std::span<const float> choice, std::int64_t wanted);

/// The best, best first.
/// @param chosen  [k], out; at least k choice scores must be above -inf
/// @param work    overwritten
void choose_top_k(std::span<const float> choice, std::span<std::int32_t> chosen,
                  std::vector<std::uint64_t>& work);

/// One expert after the other. Each round takes the largest logit m that is left and keeps the
/// logits z with (m - z) / max(|z|, m) <= 2 jitter (0 / 0 is kept); the winner's weight is its
/// share in a softmax over the kept ones; then the winner leaves. Weights lie in (0, 1], usually 1,
/// and need not sum to 1.
/// @param transformed  [experts]; -inf is hidden and never kept; winners are -inf afterwards
/// @param chosen       [k], out
/// @param weights      [k], out
/// Source: GRIN-MoE (arXiv:2409.12136) as its released code has it, evaluation.
void choose_sparsemixer(double jitter, std::span<double> transformed,
                        std::span<std::int32_t> chosen, std::span<double> weights);
}  // namespace switchyard::experts
