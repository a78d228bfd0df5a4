// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The rules that look at other tokens, each over one routing group: consecutive tokens that share
/// the experts' capacities. What they decide depends on nothing outside the group.
#include <cstdint>
#include <vector>

#include "experts/router/routing.hpp"
#include "experts/router/spec.hpp"

namespace switchyard::experts {

/// Tokens [first, last) of a batch; `number` counts groups from 0.
struct TokenGroup {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t number = 0;
};

/// Turns a slot into one that no expert computes.
void drop(Routing& whole, std::int64_t slot);

/// All first choices in token order, then all second choices, and so on; an expert that has
/// `capacity` rows takes no more.
void drop_late_choices(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
                       Routing& whole);

/// Token after token, all choices of each; an expert that has `capacity` rows takes no more.
void drop_late_tokens(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
                      Routing& whole);

/// Every `per_budget` consecutive experts keep the `capacity` slots of highest unbiased score; ties
/// go to the lower token, then to the lower expert.
void drop_low_scores(const RouterSpec& spec, const TokenGroup& group, std::int64_t per_budget,
                     std::int64_t capacity, Routing& whole);

/// Weights of what is left of each token: g / max(sum of g, 2^-23) * scale, g the unbiased scores.
void weigh_survivors(const RouterSpec& spec, const TokenGroup& group, Routing& whole);

/// Top-1 with a second chance. Tokens beyond an expert's capacity, in token order, take the first
/// entries of a shuffled list that holds every expert's id (ascending) as often as it has room, and
/// weigh what the new expert scored. Dropped: those beyond the list, and a token that hides the
/// expert it draws. Shuffle (Fisher-Yates): entry i, from the last down to 1, changes place with
/// entry floor(r (i + 1) / 2^32), r the first word of
/// philox(counter (i, 0, group number, Stream::kShuffle), key (seed low, seed high)).
/// Source: Tencent-Hunyuan-Large, models/modeling_hunyuan.py, random routing of dropped tokens.
void recycle(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
             Routing& whole);

/// One (token, expert) pair of an expert's choice.
struct Pick {
  std::int64_t token = 0;
  std::int32_t expert = 0;
};

/// Appends what the experts choose from a group: each its `capacity` highest scores, ties to the
/// lower token, hidden tokens never; by ascending expert, then token.
void pick_tokens(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
                 const Routing& whole, std::vector<Pick>& picks);

/// Makes the slots of a routing from all picks: by token, then expert; weights are score * scale.
/// @param picks  ascending experts for every token
void take_picks(const RouterSpec& spec, const std::vector<Pick>& picks, Routing& whole);
}  // namespace switchyard::experts
