// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "experts/index.hpp"
#include "experts/router/batch_rules.hpp"
#include "experts/router/weighting.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::experts {
namespace {

std::uint32_t low(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}
std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32U);
}

void shuffle(std::uint64_t seed, std::int64_t group, std::span<std::int32_t> list) {
  const std::array<std::uint32_t, 2> key{low(seed), high(seed)};
  for (std::size_t i = list.size(); i-- > 1;) {
    const auto words = philox({low(i), 0, low(static_cast<std::uint64_t>(group)),
                               static_cast<std::uint32_t>(Stream::kShuffle)},
                              key);
    std::swap(list[i], list[(std::uint64_t{words[0]} * (i + 1)) >> 32U]);
  }
}

// Every expert's id as often as it has room, ascending.
std::vector<std::int32_t> free_places(std::span<const std::int64_t> taken, std::int64_t capacity) {
  std::vector<std::int32_t> places;
  for (std::size_t e = 0; e < taken.size(); ++e) {
    const std::int64_t room = std::max<std::int64_t>(capacity - taken[e], 0);
    places.insert(places.end(), at(room), static_cast<std::int32_t>(e));
  }
  return places;
}

float weight_of(const RouterSpec& spec, float score) {
  double weight = spec.weighting == Weighting::kSoftmaxOfChosen ? 1 : double{score};
  float scaled = 0;
  normalise(spec, {&weight, 1});
  scale_weights(spec, {&weight, 1}, {&scaled, 1});
  return scaled;
}

// Gives the token of `slot` a place with `expert`, unless it hides that expert.
void move_or_drop(const RouterSpec& spec, std::int64_t token, std::int64_t slot,
                  std::int32_t expert, Routing& whole) {
  if (std::isinf(whole.logits(token, expert))) return drop(whole, slot);
  whole.experts[at(slot)] = expert;
  whole.weights[at(slot)] = weight_of(spec, whole.scores(token, expert));
}
}  // namespace

void recycle(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
             Routing& whole) {
  std::vector<std::int64_t> taken(at(spec.experts));
  std::vector<std::pair<std::int64_t, std::int64_t>> late;  // token, slot
  for (std::int64_t t = group.first; t < group.last; ++t) {
    for (std::int64_t slot = whole.offsets[at(t)]; slot < whole.offsets[at(t + 1)]; ++slot) {
      const std::int32_t expert = whole.experts[at(slot)];
      if (expert == kDropped || expert >= spec.experts) continue;
      if (taken[at(expert)] < capacity) {
        ++taken[at(expert)];
      } else {
        late.emplace_back(t, slot);
      }
    }
  }
  if (late.empty()) return;
  std::vector<std::int32_t> places = free_places(taken, capacity);
  shuffle(spec.capacity.seed, group.number, places);
  for (std::size_t i = 0; i < late.size(); ++i) {
    const auto& [token, slot] = late[i];
    if (i < places.size()) {
      move_or_drop(spec, token, slot, places[i], whole);
    } else {
      drop(whole, slot);
    }
  }
}
}  // namespace switchyard::experts
