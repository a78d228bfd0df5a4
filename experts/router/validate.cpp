// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "experts/router/capacity.hpp"
#include "experts/router/names.hpp"
#include "experts/router/router.hpp"

namespace switchyard::experts {
namespace {

std::string text(std::int64_t value) {
  return std::to_string(value);
}

// The shortest decimal that reads back as the value: 1.25, 1e-20, nan.
template <class Number>
std::string text_of_real(Number value) {
  char buffer[48];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, end.ptr};
}
std::string text(float value) {
  return text_of_real(value);
}
std::string text(double value) {
  return text_of_real(value);
}

template <class Value>
void require(bool holds, const std::string& what, Value got, const std::string& want) {
  if (!holds) {
    throw std::invalid_argument("router: " + what + " is " + text(got) + ", want " + want);
  }
}

void refuse(const std::string& what) {
  throw std::invalid_argument("router: " + what);
}

void require_range(const std::string& what, std::int64_t got, std::int64_t least,
                   std::int64_t most) {
  require(got >= least && got <= most, what, got, text(least) + " to " + text(most));
}

void require_not_negative(const std::string& what, std::int64_t got) {
  require(got >= 0, what, got, "0 or more");
}

// Says the divisors on both sides of what was asked for: "a divisor of 8, nearest are 2 and 4".
void require_divisor(const std::string& what, std::int64_t got, std::int64_t whole) {
  if (got >= 1 && whole % got == 0) return;
  std::int64_t below = 0;
  std::int64_t above = 0;
  for (std::int64_t d = 1; d <= whole; ++d) {
    if (whole % d != 0) continue;
    if (d < got) below = d;
    if (d > got && above == 0) above = d;
  }
  const std::string nearest = below == 0   ? "nearest is " + text(above)
                              : above == 0 ? "nearest is " + text(below)
                                           : "nearest are " + text(below) + " and " + text(above);
  require(false, what, got, "a divisor of " + text(whole) + ", " + nearest);
}

void validate_sizes(const RouterSpec& spec) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  require(spec.hidden >= 1, "hidden", spec.hidden, "at least 1");
  require_range("experts", spec.experts, 1, kMost);
  require_range("identity", spec.identity, 0, kMost - spec.experts);
  if (spec.choice != Choice::kExpertChoice) {
    require_range("top_k", spec.top_k, 1, spec.all_experts());
  }
}

void validate_groups(const RouterSpec& spec) {
  require_divisor("groups", spec.groups, spec.all_experts());
  require_range("groups_kept", spec.groups_kept, 1, spec.groups);
  if (spec.groups_kept == spec.groups) return;
  if (spec.group_score == GroupScore::kNone) {
    refuse("group_score is none with " + text(spec.groups_kept) + " of " + text(spec.groups) +
           " groups kept, want max or sum of the two best");
  }
  if (spec.choice != Choice::kTopK) {
    refuse("groups_kept is " + text(spec.groups_kept) + " of " + text(spec.groups) +
           " without a top-k choice, want " + text(spec.groups));
  }
  const std::int64_t size = spec.all_experts() / spec.groups;
  const std::int64_t least = (spec.top_k + size - 1) / size;
  require(spec.groups_kept >= least, "groups_kept", spec.groups_kept,
          "at least " + text(least) + ", for top_k " + text(spec.top_k) + " from groups of " +
              text(size));
}

void validate_numbers(const RouterSpec& spec) {
  const auto positive = [](const std::string& what, float got) {
    require(std::isfinite(got) && got > 0, what, got, "a positive number");
  };
  const auto not_negative = [](const std::string& what, float got) {
    require(std::isfinite(got) && got >= 0, what, got, "0 or a positive number");
  };
  positive("transform_value", spec.transform_value);
  positive("norm_p", spec.norm_p);
  positive("scale", spec.scale);
  not_negative("norm_eps", spec.norm_eps);
  not_negative("sparsemixer_jitter", spec.sparsemixer_jitter);
}

void validate_capacity(const RouterSpec& spec) {
  const CapacitySpec& capacity = spec.capacity;
  const double factor = capacity.factor;
  require(factor == 0 || (factor >= kSmallestFactor && factor <= kLargestFactor), "capacity factor",
          factor, "0 (dropless) or " + text(kSmallestFactor) + " to " + text(kLargestFactor));
  require_not_negative("min_capacity", capacity.min_capacity);
  require_not_negative("devices", capacity.devices);
  require_not_negative("group_tokens", capacity.group_tokens);
}

// Rules that take weights from the scores themselves.
bool weighs_by_scores(CapacityRule rule) {
  return rule == CapacityRule::kDeepspeedTop2 || rule == CapacityRule::kDeepspeedProbs ||
         rule == CapacityRule::kDeepspeedPosition || rule == CapacityRule::kRecycle;
}

void validate_rule(const RouterSpec& spec) {
  const CapacityRule rule = spec.capacity.rule;
  const std::string name(rule_name(rule));
  if (rule == CapacityRule::kDeepspeedTop2) {
    require(spec.top_k == 2, "top_k", spec.top_k, "2 for capacity rule " + name);
  }
  if (rule == CapacityRule::kRecycle) {
    require(spec.top_k == 1, "top_k", spec.top_k, "1 for capacity rule " + name);
  }
  if (rule == CapacityRule::kDeviceBudget) {
    require_divisor("devices", spec.capacity.devices, spec.experts);
  }
  if (weighs_by_scores(rule) && spec.scoring == Scoring::kNone) {
    refuse("scoring is none with capacity rule " + name + ", want softmax or sigmoid");
  }
}

void validate_expert_choice(const RouterSpec& spec) {
  const double factor = spec.capacity.factor;
  require(factor > 0, "capacity factor", factor,
          text(kSmallestFactor) + " to " + text(kLargestFactor) + " for expert choice");
  require(spec.identity == 0, "identity", spec.identity, "0 for expert choice");
  if (spec.capacity.rule != CapacityRule::kNone) {
    refuse("capacity rule is " + std::string(rule_name(spec.capacity.rule)) +
           " with expert choice, want none");
  }
  if (spec.normalize != Normalize::kNone || spec.weighting != Weighting::kScores) {
    refuse("weights are normalised with expert choice, want raw scores");
  }
}
}  // namespace

void validate(const RouterSpec& spec) {
  validate_sizes(spec);
  validate_groups(spec);
  validate_numbers(spec);
  validate_capacity(spec);
  if (spec.choice == Choice::kExpertChoice) {
    validate_expert_choice(spec);
  } else {
    validate_rule(spec);
  }
}
}  // namespace switchyard::experts
