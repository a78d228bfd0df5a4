// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "experts/reference/routes.hpp"
#include "experts/reference/running.hpp"

namespace switchyard::experts::reference {
namespace {
void check_expert_choice(const RouterSpec& spec) {
  if (!(spec.capacity.factor > 0)) refuse("expert choice with capacity factor 0, want more");
  if (spec.identity > 0) refuse("expert choice with identity experts, want none");
  if (spec.groups_kept < spec.groups) refuse("expert choice with a group filter, want none");
}
}  // namespace

void choose_tokens(const RouterSpec& spec, const std::vector<float>& selection_bias,
                   Routing& routing) {
  check_expert_choice(spec);
  const std::int64_t tokens = routing.logits.rows();
  std::vector<std::vector<std::int64_t>> experts_of(static_cast<std::size_t>(tokens));
  for (const TokenGroup& group : token_groups(spec, tokens)) {
    const double share =
        static_cast<double>(group.last - group.first) / static_cast<double>(spec.experts);
    const std::int64_t rows = round_up(spec.capacity.factor * share);
    for (std::int64_t e = 0; e < spec.experts; ++e) {
      std::vector<std::pair<float, std::int64_t>> line;  // minus its choice score, token
      for (std::int64_t t = group.first; t < group.last; ++t) {
        float choice = routing.scores(t, e);
        if (!selection_bias.empty()) choice += selection_bias[static_cast<std::size_t>(e)];
        if (is_visible(routing.logits(t, e)) && is_visible(choice)) line.emplace_back(-choice, t);
      }
      std::sort(line.begin(), line.end());
      const auto taken = std::min(line.size(), static_cast<std::size_t>(rows));
      for (std::size_t i = 0; i < taken; ++i) {
        experts_of[static_cast<std::size_t>(line[i].second)].push_back(e);
      }
    }
  }

  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<double> weights;
    for (const std::int64_t e : experts_of[static_cast<std::size_t>(t)]) {
      routing.experts.push_back(static_cast<std::int32_t>(e));
      weights.push_back(static_cast<double>(routing.scores(t, e)));
    }
    for (const float weight : finish(spec, weights)) routing.weights.push_back(weight);
    routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
  }
}
}  // namespace switchyard::experts::reference
