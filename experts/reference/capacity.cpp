// SPDX-License-Identifier: Apache-2.0
// Capacity rules. All of them are one procedure: rows stand in line in some order, and every expert
// (or device) takes the first C that come to it.
#include <algorithm>
#include <map>
#include <tuple>

#include "experts/reference/routes.hpp"
#include "experts/reference/running.hpp"

namespace switchyard::experts::reference {
namespace {
constexpr double kEpsilon = 1.19209290e-7;    // the least sum of survivors (DeepSpeed)
constexpr std::uint32_t kShuffleStream = 16;  // the last word of the counter

/// A slot that asks for a routed expert.
struct Applicant {
  std::int64_t token = 0;
  std::int64_t choice = 0;  ///< 0 is its token's first
  std::size_t slot = 0;     ///< in Routing::experts
  std::int64_t expert = 0;
  float score = 0;
};

/// Slots of routed experts in token order. Identity experts take everything and count nowhere.
std::vector<Applicant> applicants(const RouterSpec& spec, const Routing& routing,
                                  TokenGroup group) {
  std::vector<Applicant> line;
  for (std::int64_t t = group.first; t < group.last; ++t) {
    const std::int64_t first = routing.offsets[static_cast<std::size_t>(t)];
    for (std::int64_t choice = 0; choice < spec.top_k; ++choice) {
      const auto slot = static_cast<std::size_t>(first + choice);
      const std::int64_t expert = routing.experts[slot];
      if (expert >= spec.experts) continue;
      line.push_back({t, choice, slot, expert, routing.scores(t, expert)});
    }
  }
  return line;
}

/// Puts the line in the order in which the rule lets it in.
void order(CapacityRule rule, std::vector<Applicant>& line) {
  const auto place = [rule](const Applicant& a) {
    switch (rule) {
      case CapacityRule::kDeepspeedTop2:
      case CapacityRule::kFlaxformer:
      case CapacityRule::kColossal:
        return std::tuple(static_cast<double>(a.choice), a.token, a.expert);
      case CapacityRule::kDeepspeedProbs:
      case CapacityRule::kDeviceBudget:
        return std::tuple(-static_cast<double>(a.score), a.token, a.expert);
      default:
        return std::tuple(0.0, a.token, a.expert);
    }
  };
  std::sort(line.begin(), line.end(),
            [&](const Applicant& a, const Applicant& b) { return place(a) < place(b); });
}

std::int64_t capacity(const RouterSpec& spec, std::int64_t group_tokens) {
  const CapacitySpec& rule = spec.capacity;
  const double tokens = static_cast<double>(group_tokens);
  const double experts = static_cast<double>(spec.experts);
  const double k = static_cast<double>(spec.top_k);
  switch (rule.rule) {
    case CapacityRule::kNone:
      return group_tokens;
    case CapacityRule::kDeepspeedTop2:
    case CapacityRule::kDeepspeedProbs:
    case CapacityRule::kDeepspeedPosition:
    case CapacityRule::kRecycle:
      return std::max(rule.min_capacity, round_up(rule.factor * tokens * k / experts));
    case CapacityRule::kFlaxformer:
      return std::max<std::int64_t>(4, round_half_even(rule.factor * tokens / experts));
    case CapacityRule::kColossal: {
      const std::int64_t rows = round_down(k * rule.factor * tokens / experts);
      return std::max<std::int64_t>(4, rows + rows % 2);
    }
    case CapacityRule::kDeviceBudget:
      return round_up(rule.factor * tokens * k / static_cast<double>(rule.devices));
  }
  refuse("unknown capacity rule");
}

void check(const RouterSpec& spec) {
  const CapacitySpec& rule = spec.capacity;
  const std::string k = std::to_string(spec.top_k);
  if (rule.rule == CapacityRule::kDeepspeedTop2 && spec.top_k != 2) {
    refuse("deepspeed-top2 with k = " + k + ", want 2");
  }
  if (rule.rule == CapacityRule::kRecycle && spec.top_k != 1) {
    refuse("recycle with k = " + k + ", want 1");
  }
  if (rule.rule == CapacityRule::kDeviceBudget &&
      (rule.devices < 1 || spec.experts % rule.devices != 0)) {
    refuse("device-budget with " + std::to_string(rule.devices) + " devices, want a divisor of " +
           std::to_string(spec.experts) + " experts");
  }
  if (spec.choice == Choice::kExpertChoice) refuse("expert choice with a capacity rule, want none");
}

/// DeepSpeed: what is left of a token's scores, over its sum (at least float32's epsilon).
void renormalise_survivors(const RouterSpec& spec, TokenGroup group, Routing& routing) {
  for (std::int64_t t = group.first; t < group.last; ++t) {
    const auto first = static_cast<std::size_t>(routing.offsets[static_cast<std::size_t>(t)]);
    const auto last = first + static_cast<std::size_t>(spec.top_k);
    double sum = 0;
    for (std::size_t s = first; s < last; ++s) {
      if (routing.experts[s] == kDropped) continue;
      sum += static_cast<double>(routing.scores(t, routing.experts[s]));
    }
    for (std::size_t s = first; s < last; ++s) {
      if (routing.experts[s] == kDropped) continue;
      const double score = static_cast<double>(routing.scores(t, routing.experts[s]));
      const double weight = score / std::max(sum, kEpsilon);
      routing.weights[s] = static_cast<float>(weight * static_cast<double>(spec.scale));
    }
  }
}

/// "Expert id repeated by its free slots", shuffled from the end (Fisher-Yates).
std::vector<std::int64_t> shuffled_free_slots(const RouterSpec& spec, std::int64_t rows,
                                              const std::map<std::int64_t, std::int64_t>& taken,
                                              std::int64_t group_number) {
  std::vector<std::int64_t> list;
  for (std::int64_t e = 0; e < spec.experts; ++e) {
    const std::int64_t used = taken.contains(e) ? taken.at(e) : 0;
    list.insert(list.end(), static_cast<std::size_t>(rows - used), e);
  }
  const std::uint64_t seed = spec.capacity.seed;
  for (std::size_t i = list.size(); i-- > 1;) {
    const auto words =
        philox({static_cast<std::uint32_t>(i), 0, static_cast<std::uint32_t>(group_number),
                kShuffleStream},
               {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
    const std::uint64_t j = (std::uint64_t{words[0]} * (i + 1)) >> 32U;
    std::swap(list[i], list[j]);
  }
  return list;
}

/// Sends each dropped token, in token order, to the next expert of the shuffled list; its weight is
/// the new expert's score (1, where weights are a softmax over the one that is chosen). A token
/// that hides that expert stays dropped, and so do those past the list.
void recycle(const RouterSpec& spec, const std::vector<Applicant>& dropped,
             const std::vector<std::int64_t>& list, Routing& routing) {
  for (std::size_t i = 0; i < std::min(dropped.size(), list.size()); ++i) {
    const Applicant& token = dropped[i];
    if (!is_visible(routing.logits(token.token, list[i]))) continue;
    const bool raw = spec.weighting == Weighting::kScores;
    const float score = raw ? routing.scores(token.token, list[i]) : 1.0F;
    routing.experts[token.slot] = static_cast<std::int32_t>(list[i]);
    routing.weights[token.slot] = finish(spec, {static_cast<double>(score)})[0];
  }
}

void apply_to_group(const RouterSpec& spec, TokenGroup group, Routing& routing) {
  const CapacityRule rule = spec.capacity.rule;
  const std::int64_t rows = capacity(spec, group.last - group.first);
  const bool by_device = rule == CapacityRule::kDeviceBudget;
  const std::int64_t counted_together = by_device ? spec.experts / spec.capacity.devices : 1;

  std::vector<Applicant> line = applicants(spec, routing, group);
  order(rule, line);
  std::map<std::int64_t, std::int64_t> taken;
  std::vector<Applicant> dropped;
  for (const Applicant& applicant : line) {
    std::int64_t& count = taken[applicant.expert / counted_together];
    if (count < rows) {
      ++count;
      continue;
    }
    dropped.push_back(applicant);
    routing.experts[applicant.slot] = kDropped;
    routing.weights[applicant.slot] = 0;
  }

  if (rule == CapacityRule::kRecycle) {
    recycle(spec, dropped, shuffled_free_slots(spec, rows, taken, group.number), routing);
  }
  if (rule == CapacityRule::kDeepspeedTop2 || rule == CapacityRule::kDeepspeedProbs ||
      rule == CapacityRule::kDeepspeedPosition) {
    renormalise_survivors(spec, group, routing);
  }
}
}  // namespace

void apply_capacity(const RouterSpec& spec, Routing& routing) {
  check(spec);
  for (const TokenGroup& group : token_groups(spec, routing.tokens())) {
    apply_to_group(spec, group, routing);
  }
}
}  // namespace switchyard::experts::reference
