// SPDX-License-Identifier: Apache-2.0
#include "experts/router/choice.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"
#include "experts/router/order.hpp"

namespace switchyard::experts {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

// Brings the `count` largest keys to the front, largest first.
void best_first(std::vector<std::uint64_t>& keys, std::size_t count) {
  std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count), keys.end(),
                    std::greater<>{});
}

/// Up to this many, each score that beats the worst of the best so far is put into its place.
constexpr std::size_t kFew = 16;

/// As order_key orders, for experts come in ascending order: who is not better goes behind.
void insert_best(std::span<const float> choice, std::span<std::int32_t> chosen) {
  std::array<float, kFew> best{};
  std::size_t count = 0;
  for (std::size_t e = 0; e < choice.size(); ++e) {
    const bool full = count == chosen.size();
    if (full && !(choice[e] > best[count - 1])) continue;
    std::size_t place = full ? count - 1 : count++;
    for (; place > 0 && choice[e] > best[place - 1]; --place) {
      best[place] = best[place - 1];
      chosen[place] = chosen[place - 1];
    }
    best[place] = choice[e];
    chosen[place] = static_cast<std::int32_t>(e);
  }
}

bool kept(double winner, double logit, double threshold) {
  return !((winner - logit) / std::max(std::abs(logit), winner) > threshold);
}
}  // namespace

void choice_scores(std::span<const float> logits, std::span<const float> scores,
                   std::span<const float> bias, std::span<float> choice) {
  for (std::size_t e = 0; e < choice.size(); ++e) {
    const float biased = bias.empty() ? scores[e] : scores[e] + bias[e];
    choice[e] = std::isinf(logits[e]) ? kHidden : std::clamp(biased, -kLargest, kLargest);
  }
}

float group_standing(GroupScore rule, std::span<const float> group) {
  float best = kHidden;
  float second = kHidden;
  for (const float score : group) {
    if (score > best) {
      second = best;
      best = score;
    } else {
      second = std::max(second, score);
    }
  }
  const bool alone = rule == GroupScore::kMax || std::isinf(second);
  return alone ? best : std::clamp(best + second, -kLargest, kLargest);
}

void keep_groups(const RouterSpec& spec, std::span<float> choice,
                 std::vector<std::uint64_t>& work) {
  if (spec.groups_kept >= spec.groups) return;
  const auto groups = static_cast<std::size_t>(spec.groups);
  const auto num_kept = static_cast<std::size_t>(spec.groups_kept);
  const std::size_t size = choice.size() / groups;
  work.resize(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    work[g] = order_key(group_standing(spec.group_score, choice.subspan(g * size, size)),
                        static_cast<std::uint32_t>(g));
  }
  best_first(work, num_kept);
  for (std::size_t place = num_kept; place < groups; ++place) {
    std::ranges::fill(choice.subspan(id_of(work[place]) * size, size), kHidden);
  }
}

void check_kept(std::int64_t token, std::span<const float> choice, std::int64_t wanted) {
  const auto left = std::ranges::count_if(choice, [](float score) { return score > kHidden; });
  if (left < wanted) {
    throw std::invalid_argument("token " + std::to_string(token) + ": " + std::to_string(left) +
                                " finite logits in the kept groups, want at least " +
                                std::to_string(wanted));
  }
}

void choose_top_k(std::span<const float> choice, std::span<std::int32_t> chosen,
                  std::vector<std::uint64_t>& work) {
  if (chosen.size() <= kFew) return insert_best(choice, chosen);
  work.resize(choice.size());
  for (std::size_t e = 0; e < choice.size(); ++e) {
    work[e] = order_key(choice[e], static_cast<std::uint32_t>(e));
  }
  best_first(work, chosen.size());
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    chosen[slot] = static_cast<std::int32_t>(id_of(work[slot]));
  }
}

void choose_sparsemixer(double jitter, std::span<double> transformed,
                        std::span<std::int32_t> chosen, std::span<double> weights) {
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    const auto winner = std::ranges::max_element(transformed);  // the first of equals
    const double largest = *winner;
    double total = 0;
    for (const double z : transformed) {
      if (!std::isinf(z) && kept(largest, z, 2 * jitter)) total += portable::exp(z - largest);
    }
    chosen[slot] = static_cast<std::int32_t>(winner - transformed.begin());
    weights[slot] = 1 / total;
    *winner = -std::numeric_limits<double>::infinity();
  }
}
}  // namespace switchyard::experts
