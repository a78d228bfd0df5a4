// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>

#include "experts/index.hpp"
#include "experts/router/batch_rules.hpp"
#include "experts/router/order.hpp"

namespace switchyard::experts {
namespace {

// The tokens of the `count` largest keys, ascending, to the front.
void best_tokens(std::vector<std::uint64_t>& keys, std::int64_t count) {
  const auto middle =
      keys.begin() + std::min<std::ptrdiff_t>(count, static_cast<std::ptrdiff_t>(keys.size()));
  std::nth_element(keys.begin(), middle, keys.end(), std::greater<>{});
  keys.erase(middle, keys.end());
  std::ranges::sort(keys, {}, id_of);
}
}  // namespace

void pick_tokens(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
                 const Routing& whole, std::vector<Pick>& picks) {
  std::vector<std::uint64_t> keys;
  for (std::int32_t expert = 0; expert < spec.experts; ++expert) {
    keys.clear();
    for (std::int64_t t = group.first; t < group.last; ++t) {
      if (std::isinf(whole.logits(t, expert))) continue;
      keys.push_back(
          order_key(whole.scores(t, expert), static_cast<std::uint32_t>(t - group.first)));
    }
    best_tokens(keys, capacity);
    for (const std::uint64_t key : keys) {
      picks.push_back({.token = group.first + std::int64_t{id_of(key)}, .expert = expert});
    }
  }
}

void take_picks(const RouterSpec& spec, const std::vector<Pick>& picks, Routing& whole) {
  std::vector<std::int64_t> offsets(at(whole.tokens() + 1));
  for (const Pick& pick : picks) ++offsets[at(pick.token + 1)];
  for (std::size_t t = 1; t < offsets.size(); ++t) offsets[t] += offsets[t - 1];
  std::vector<std::int64_t> next = offsets;
  whole.experts.assign(picks.size(), kDropped);
  whole.weights.assign(picks.size(), 0);
  for (const Pick& pick : picks) {
    const std::size_t slot = at(next[at(pick.token)]++);
    whole.experts[slot] = pick.expert;
    whole.weights[slot] =
        static_cast<float>(double{whole.scores(pick.token, pick.expert)} * double{spec.scale});
  }
  whole.offsets = std::move(offsets);
}
}  // namespace switchyard::experts
