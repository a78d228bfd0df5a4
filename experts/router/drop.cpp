// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <span>

#include "experts/index.hpp"
#include "experts/router/batch_rules.hpp"

namespace switchyard::experts {
namespace {

// Rows that the experts of a group of tokens have taken so far.
class Room {
 public:
  Room(std::int64_t experts, std::int64_t capacity) : taken_(at(experts)), capacity_(capacity) {}

  // Identity experts compute nothing and are never full.
  bool take(std::int32_t expert) {
    if (expert >= static_cast<std::int64_t>(taken_.size())) return true;
    return taken_[at(expert)]++ < capacity_;
  }

 private:
  std::vector<std::int64_t> taken_;
  std::int64_t capacity_;
};

void take_or_drop(Room& room, Routing& whole, std::int64_t slot) {
  const std::int32_t expert = whole.experts[at(slot)];
  if (expert != kDropped && !room.take(expert)) drop(whole, slot);
}

struct Candidate {
  float score = 0;
  std::int32_t expert = 0;
  std::int64_t token = 0;
  std::int64_t slot = 0;
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.score != b.score) return a.score > b.score;
  if (a.token != b.token) return a.token < b.token;
  return a.expert < b.expert;
}

void drop_worst(std::span<Candidate> candidates, std::int64_t capacity, Routing& whole) {
  if (static_cast<std::int64_t>(candidates.size()) <= capacity) return;
  const auto middle = candidates.begin() + capacity;
  std::nth_element(candidates.begin(), middle, candidates.end(), better);
  for (auto loser = middle; loser != candidates.end(); ++loser) drop(whole, loser->slot);
}
}  // namespace

void drop(Routing& whole, std::int64_t slot) {
  whole.experts[at(slot)] = kDropped;
  whole.weights[at(slot)] = 0;
}

void drop_late_choices(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
                       Routing& whole) {
  Room room(spec.experts, capacity);
  bool more = true;
  for (std::int64_t choice = 0; more; ++choice) {
    more = false;
    for (std::int64_t t = group.first; t < group.last; ++t) {
      const std::int64_t slot = whole.offsets[at(t)] + choice;
      if (slot >= whole.offsets[at(t + 1)]) continue;
      more = true;
      take_or_drop(room, whole, slot);
    }
  }
}

void drop_late_tokens(const RouterSpec& spec, const TokenGroup& group, std::int64_t capacity,
                      Routing& whole) {
  Room room(spec.experts, capacity);
  for (std::int64_t slot = whole.offsets[at(group.first)]; slot < whole.offsets[at(group.last)];
       ++slot) {
    take_or_drop(room, whole, slot);
  }
}

void drop_low_scores(const RouterSpec& spec, const TokenGroup& group, std::int64_t per_budget,
                     std::int64_t capacity, Routing& whole) {
  std::vector<std::vector<Candidate>> budgets(at(spec.experts / per_budget));
  for (std::int64_t t = group.first; t < group.last; ++t) {
    for (std::int64_t slot = whole.offsets[at(t)]; slot < whole.offsets[at(t + 1)]; ++slot) {
      const std::int32_t expert = whole.experts[at(slot)];
      if (expert == kDropped || expert >= spec.experts) continue;
      budgets[at(expert / per_budget)].push_back(
          {.score = whole.scores(t, expert), .expert = expert, .token = t, .slot = slot});
    }
  }
  for (auto& candidates : budgets) drop_worst(candidates, capacity, whole);
}

void weigh_survivors(const RouterSpec& spec, const TokenGroup& group, Routing& whole) {
  constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
  for (std::int64_t t = group.first; t < group.last; ++t) {
    double total = 0;
    for (std::int64_t slot = whole.offsets[at(t)]; slot < whole.offsets[at(t + 1)]; ++slot) {
      const std::int32_t expert = whole.experts[at(slot)];
      if (expert != kDropped) total += double{whole.scores(t, expert)};
    }
    const double divisor = std::max(total, kEpsilon);
    for (std::int64_t slot = whole.offsets[at(t)]; slot < whole.offsets[at(t + 1)]; ++slot) {
      const std::int32_t expert = whole.experts[at(slot)];
      if (expert == kDropped) continue;
      whole.weights[at(slot)] =
          static_cast<float>(double{whole.scores(t, expert)} / divisor * double{spec.scale});
    }
  }
}
}  // namespace switchyard::experts
