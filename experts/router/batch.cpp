// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "experts/router/batch_rules.hpp"
#include "experts/router/router.hpp"

namespace switchyard::experts {
namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument("apply_batch_rule: " + message);
}

void require_matrix(const std::string& name, const Matrix& matrix, std::int64_t rows,
                    std::int64_t cols) {
  require(matrix.rows() == rows && (rows == 0 || matrix.cols() == cols),
          name + " is [" + std::to_string(matrix.rows()) + ", " + std::to_string(matrix.cols()) +
              "], want [" + std::to_string(rows) + ", " + std::to_string(cols) + "]");
}

bool needs_logits(const RouterSpec& spec) {
  return spec.choice == Choice::kExpertChoice || spec.capacity.rule == CapacityRule::kRecycle;
}

bool needs_scores(const RouterSpec& spec) {
  return needs_logits(spec) || (spec.capacity.rule != CapacityRule::kFlaxformer &&
                                spec.capacity.rule != CapacityRule::kColossal);
}

void require_shapes(const RouterSpec& spec, const Routing& whole) {
  require(
      !whole.offsets.empty() && whole.offsets.front() == 0 && std::ranges::is_sorted(whole.offsets),
      "slot offsets do not rise from 0");
  const auto slots = static_cast<std::size_t>(whole.slots());
  require(whole.experts.size() == slots && whole.weights.size() == slots,
          "got " + std::to_string(whole.experts.size()) + " experts and " +
              std::to_string(whole.weights.size()) + " weights, want " + std::to_string(slots));
  for (const std::int32_t expert : whole.experts) {
    require(expert >= kDropped && expert < spec.all_experts(),
            "expert is " + std::to_string(expert) + ", want -1 to " +
                std::to_string(spec.all_experts() - 1));
  }
  if (needs_logits(spec))
    require_matrix("logits", whole.logits, whole.tokens(), spec.all_experts());
  if (needs_scores(spec))
    require_matrix("scores", whole.scores, whole.tokens(), spec.all_experts());
}

std::vector<TokenGroup> token_groups(const RouterSpec& spec, std::int64_t tokens) {
  const std::int64_t size = spec.capacity.group_tokens == 0 ? std::max<std::int64_t>(tokens, 1)
                                                            : spec.capacity.group_tokens;
  std::vector<TokenGroup> groups;
  for (std::int64_t first = 0; first < tokens; first += size) {
    groups.push_back({.first = first,
                      .last = first + std::min(size, tokens - first),
                      .number = static_cast<std::int64_t>(groups.size())});
  }
  return groups;
}

void apply_capacity_rule(const RouterSpec& spec, const TokenGroup& group, Routing& whole) {
  const std::int64_t capacity = capacity_of(spec, group.last - group.first);
  switch (spec.capacity.rule) {
    case CapacityRule::kNone:
      return;
    case CapacityRule::kDeepspeedTop2:
      drop_late_choices(spec, group, capacity, whole);
      return weigh_survivors(spec, group, whole);
    case CapacityRule::kDeepspeedProbs:
      drop_low_scores(spec, group, 1, capacity, whole);
      return weigh_survivors(spec, group, whole);
    case CapacityRule::kDeepspeedPosition:
      drop_late_tokens(spec, group, capacity, whole);
      return weigh_survivors(spec, group, whole);
    case CapacityRule::kFlaxformer:
    case CapacityRule::kColossal:
      return drop_late_choices(spec, group, capacity, whole);
    case CapacityRule::kDeviceBudget:
      return drop_low_scores(spec, group, spec.experts / spec.capacity.devices, capacity, whole);
    case CapacityRule::kRecycle:
      return recycle(spec, group, capacity, whole);
  }
}

void let_experts_choose(const RouterSpec& spec, Routing& whole) {
  std::vector<Pick> picks;
  for (const TokenGroup& group : token_groups(spec, whole.tokens())) {
    pick_tokens(spec, group, capacity_of(spec, group.last - group.first), whole, picks);
  }
  take_picks(spec, picks, whole);
}
}  // namespace

bool needs_whole_batch(const RouterSpec& spec) {
  return spec.choice == Choice::kExpertChoice ||
         (spec.capacity.rule != CapacityRule::kNone && spec.capacity.factor != 0);
}

void apply_batch_rule(const RouterSpec& spec, Routing& whole) {
  validate(spec);
  if (!needs_whole_batch(spec)) return;
  require_shapes(spec, whole);
  if (spec.choice == Choice::kExpertChoice) return let_experts_choose(spec, whole);
  for (const TokenGroup& group : token_groups(spec, whole.tokens())) {
    apply_capacity_rule(spec, group, whole);
  }
}
}  // namespace switchyard::experts
