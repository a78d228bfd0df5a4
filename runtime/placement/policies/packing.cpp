// SPDX-License-Identifier: Apache-2.0
// Policies that place whole experts or add copies to such a placement, one greedy step at a time.
#include <algorithm>
#include <queue>
#include <utility>

#include "experts/index.hpp"
#include "runtime/placement/policies/all.hpp"
#include "runtime/placement/policies/bound.hpp"

namespace switchyard::runtime {
namespace {
/// Experts by rows a copy; one more copy of the first is what the next step makes.
class MostACopy {
 public:
  MostACopy(std::span<const double> rows, int ranks) : rows_(rows), ranks_(ranks) {
    copies_.assign(rows.size(), 1);
    for (std::int32_t e = 0; e < static_cast<std::int32_t>(rows.size()); ++e) push(e);
  }
  /// False: more copies help nobody.
  bool add() {
    if (heap_.empty()) return false;
    const std::int32_t expert = heap_.top().second;
    heap_.pop();
    ++copies_[at(-expert)];
    push(-expert);
    return true;
  }
  [[nodiscard]] const std::vector<std::int64_t>& copies() const { return copies_; }

 private:
  void push(std::int32_t expert) {
    const auto copies = copies_[at(expert)];
    if (rows_[at(expert)] == 0 || copies == ranks_) return;
    heap_.emplace(rows_[at(expert)] / static_cast<double>(copies), -expert);
  }
  std::span<const double> rows_;
  std::int64_t ranks_;
  std::vector<std::int64_t> copies_;
  std::priority_queue<std::pair<double, std::int32_t>> heap_;  ///< ids negated: ties to the lower
};

/// All copies, the one with most rows first, each to the emptiest rank that can take it.
Draft pack_copies(const LayerLoad& load, const MachineShape& shape,
                  const std::vector<std::int64_t>& copies) {
  std::vector<double> share(load.rows.size());
  for (std::size_t e = 0; e < share.size(); ++e) {
    share[e] = load.rows[e] / static_cast<double>(copies[e]);
  }
  std::vector<double> loads(at(shape.ranks), 0.0);
  Draft draft(load.rows, shape);
  for (const std::int32_t expert : by_falling_load(share)) {
    for (std::int64_t copy = 0; copy < copies[at(expert)]; ++copy) {
      int best = -1;
      for (int rank = 0; rank < shape.ranks; ++rank) {
        if (!draft.takes(rank, expert)) continue;
        const bool emptier = best >= 0 && loads[at(rank)] == loads[at(best)] &&
                             draft.experts_of(rank).size() < draft.experts_of(best).size();
        if (best < 0 || loads[at(rank)] < loads[at(best)] || emptier) best = rank;
      }
      if (best < 0) break;
      loads[at(best)] += share[at(expert)];
      draft.add(expert, best);
    }
  }
  return draft;
}
}  // namespace

Placement pack_longest_first(const LayerLoad& load, const MachineShape& shape,
                             const PolicyOptions&) {
  return pack_copies(load, shape, std::vector<std::int64_t>(load.rows.size(), 1)).placement();
}

Placement copy_busiest(const LayerLoad& load, const MachineShape& shape, const PolicyOptions&) {
  constexpr double kGood = 1.01;  // of the bound: more copies are not worth their memory
  const auto experts = static_cast<std::int64_t>(load.rows.size());
  const std::int64_t spare = std::min(shape.slots, experts) * shape.ranks - experts;
  const double bound = least_worst(load.rows, shape);
  MostACopy most(load.rows, shape.ranks);
  Draft best = pack_copies(load, shape, most.copies());
  for (std::int64_t more = 0; more < spare && best.worst() > kGood * bound; ++more) {
    if (!most.add()) break;
    Draft draft = pack_copies(load, shape, most.copies());
    if (draft.worst() < best.worst() * (1 - 1e-12)) best = std::move(draft);
  }
  return best.placement();
}

Placement shadow_popular(const LayerLoad& load, const MachineShape& shape,
                         const PolicyOptions& options) {
  Draft draft(load.rows, shape,
              Placement::linear(static_cast<std::int64_t>(load.rows.size()), shape.ranks));
  Draft best = draft;
  double least = draft.worst();
  double cost = 0;
  for (const std::int32_t expert : by_falling_load(load.rows)) {
    const std::size_t before = draft.hosts_of(expert).size();
    for (int rank = 0; rank < shape.ranks; ++rank) {
      if (draft.takes(rank, expert)) draft.add(expert, rank);
    }
    if (draft.hosts_of(expert).size() == before) break;  // no slot is left
    cost += options.copy_rows;
    if (draft.worst() + cost < least * (1 - 1e-12)) {
      least = draft.worst() + cost;
      best = draft;
    }
  }
  return best.placement();
}
}  // namespace switchyard::runtime
