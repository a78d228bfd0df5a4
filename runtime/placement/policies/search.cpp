// SPDX-License-Identifier: Apache-2.0
// The best of all policies, refined: first by even shares of copies, then by the tokens themselves.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "experts/index.hpp"
#include "runtime/placement/policies/all.hpp"
#include "runtime/placement/policies/hosted.hpp"

namespace switchyard::runtime {
namespace {
/// One change of a draft: copies that go, then copies that come.
struct Change {
  struct Copy {
    std::int32_t expert;
    int rank;
  };
  std::vector<Copy> drops;
  std::vector<Copy> adds;
  double worst = std::numeric_limits<double>::infinity();  ///< of the ranks that it changes
};

void apply(Draft& draft, const Change& change) {
  for (const auto& [expert, rank] : change.drops) draft.drop(expert, rank);
  for (const auto& [expert, rank] : change.adds) draft.add(expert, rank);
}

void undo(Draft& draft, const Change& change) {
  for (const auto& [expert, rank] : change.adds) draft.drop(expert, rank);
  for (const auto& [expert, rank] : change.drops) draft.add(expert, rank);
}

/// Sum of a high power of the loads over their mean: falls when the busiest ranks get less, even if
/// several are equally busy.
double steepness(const Draft& draft) {
  constexpr double kPower = 24;
  double total = 0;
  for (int rank = 0; rank < draft.ranks(); ++rank) total += draft.load(rank);
  double sum = 0;
  for (int rank = 0; rank < draft.ranks(); ++rank) {
    sum += std::pow(draft.load(rank) * draft.ranks() / total, kPower);
  }
  return sum;
}

/// Every move, swap, new copy and moved copy that takes rows off `rank`, its effect on the ranks it
/// touches judged by `rows` of each of its copies.
class Neighbours {
 public:
  Neighbours(const Draft& draft, int rank, std::span<const double> loads,
             const std::vector<std::vector<double>>& rows)
      : draft_(draft), rank_(rank), loads_(loads), rows_(rows) {}

  /// The `most` best, best first.
  [[nodiscard]] std::vector<Change> best(std::size_t most) {
    const auto& own = draft_.experts_of(rank_);
    for (std::size_t i = 0; i < own.size(); ++i) {
      for (int to = 0; to < draft_.ranks(); ++to) {
        if (to != rank_) try_rank(own[i], rows_[at(rank_)][i], to);
      }
    }
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Change& a, const Change& b) { return a.worst < b.worst; });
    if (found_.size() > most) found_.resize(most);
    return std::move(found_);
  }

 private:
  void offer(Change change, double from, double to) {
    change.worst = std::max(from, to);
    if (change.worst < loads_[at(rank_)]) found_.push_back(std::move(change));
  }

  void try_rank(std::int32_t expert, double rows, int to) {
    if (loads_[at(to)] >= loads_[at(rank_)]) return;
    const double here = loads_[at(rank_)];
    const double there = loads_[at(to)];
    if (draft_.hosts(to, expert)) {  // its other copies do without this one
      const auto others = static_cast<double>(draft_.hosts_of(expert).size() - 1);
      offer({.drops = {{expert, rank_}}, .adds = {}}, here - rows, there + rows / others);
      return;
    }
    const auto copies = static_cast<double>(draft_.hosts_of(expert).size());
    const double part = rows * copies / (copies + 1);  // of a copy, with one more
    if (!draft_.full(to)) {
      offer({.drops = {{expert, rank_}}, .adds = {{expert, to}}}, here - rows, there + rows);
      offer({.drops = {}, .adds = {{expert, to}}}, here - (rows - part), there + part);
    }
    const auto& others = draft_.experts_of(to);
    for (std::size_t j = 0; j < others.size(); ++j) {
      const std::int32_t other = others[j];
      const double back = rows_[at(to)][j];
      if (!draft_.hosts(rank_, other)) {
        offer({.drops = {{expert, rank_}, {other, to}}, .adds = {{expert, to}, {other, rank_}}},
              here - rows + back, there + rows - back);
      }
      const auto of_other = draft_.hosts_of(other).size();
      if (of_other == 1) continue;
      // A copy of something else makes room; its rows go to its other hosts, this one among them?
      const double more = back / static_cast<double>(of_other - 1);
      const double extra = draft_.hosts(rank_, other) ? more : 0;
      offer({.drops = {{other, to}}, .adds = {{expert, to}}}, here - (rows - part) + extra,
            there - back + part);
      offer({.drops = {{other, to}, {expert, rank_}}, .adds = {{expert, to}}}, here - rows + extra,
            there - back + rows);
    }
  }

  const Draft& draft_;
  int rank_;
  std::span<const double> loads_;
  const std::vector<std::vector<double>>& rows_;
  std::vector<Change> found_;
};

std::vector<double> even_loads(const Draft& draft) {
  std::vector<double> loads;
  for (int rank = 0; rank < draft.ranks(); ++rank) loads.push_back(draft.load(rank));
  return loads;
}

std::vector<std::vector<double>> even_rows(const Draft& draft) {
  std::vector<std::vector<double>> rows(at(draft.ranks()));
  for (int rank = 0; rank < draft.ranks(); ++rank) {
    for (const auto expert : draft.experts_of(rank)) rows[at(rank)].push_back(draft.share(expert));
  }
  return rows;
}

/// Steps downhill by even shares until the busiest rank cannot be helped.
void refine_evenly(Draft& draft) {
  constexpr int kMostSteps = 2000;
  double now = steepness(draft);
  for (int step = 0; step < kMostSteps; ++step) {
    const auto loads = even_loads(draft);
    const auto rows = even_rows(draft);
    bool better = false;
    for (const Change& change : Neighbours(draft, draft.busiest(), loads, rows).best(16)) {
      apply(draft, change);
      const double then = steepness(draft);
      better = then < now * (1 - 1e-12);
      if (better) {
        now = then;
        break;
      }
      undo(draft, change);
    }
    if (!better) return;
  }
}

/// Loads as a plan would split them.
struct Measured {
  std::vector<double> loads;              ///< [ranks]
  std::vector<std::vector<double>> rows;  ///< [ranks], in the order of Draft::experts_of
  double steepness = 0;
};

Measured measure(const Draft& draft, std::span<const experts::Routing> tokens) {
  const Placement placement = draft.placement();
  const HostedRows hosted = hosted_rows(tokens, placement);
  Measured measured;
  measured.loads.assign(hosted.of_rank.begin(), hosted.of_rank.end());
  measured.rows.resize(hosted.of_copy.size());
  const double total = std::accumulate(measured.loads.begin(), measured.loads.end(), 0.0);
  for (int rank = 0; rank < draft.ranks(); ++rank) {
    const auto sorted = placement.experts_of(rank);
    for (const auto expert : draft.experts_of(rank)) {
      const auto found = std::lower_bound(sorted.begin(), sorted.end(), expert);
      measured.rows[at(rank)].push_back(
          static_cast<double>(hosted.of_copy[at(rank)][at(found - sorted.begin())]));
    }
    measured.steepness += std::pow(measured.loads[at(rank)] * draft.ranks() / total, 24);
  }
  return measured;
}

/// The same downhill, by the tokens; `trials` bounds how often they are gone through.
void refine_by_tokens(Draft& draft, std::span<const experts::Routing> tokens, int trials) {
  Measured now = measure(draft, tokens);
  while (trials > 0) {
    const auto busiest = std::max_element(now.loads.begin(), now.loads.end());
    const int rank = static_cast<int>(busiest - now.loads.begin());
    bool better = false;
    for (const Change& change : Neighbours(draft, rank, now.loads, now.rows).best(24)) {
      if (--trials < 0) return;
      apply(draft, change);
      Measured then = measure(draft, tokens);
      better = then.steepness < now.steepness;
      if (better) {
        now = std::move(then);
        break;
      }
      undo(draft, change);
    }
    if (!better) return;
  }
}

/// Some of the tokens, evenly over the window and in whole steps' order: enough to see who is
/// busiest, few enough to go through hundreds of times.
std::vector<experts::Routing> sample_of(std::span<const experts::Routing> steps) {
  constexpr std::int64_t kMostSlots = 1 << 17;
  std::int64_t slots = 0;
  for (const auto& step : steps) slots += step.slots();
  const std::int64_t stride = (slots + kMostSlots - 1) / kMostSlots;
  std::vector<experts::Routing> sample;
  if (stride <= 1) {
    sample.assign(steps.begin(), steps.end());
    return sample;
  }
  for (const auto& step : steps) {
    experts::Routing few;
    for (std::int64_t t = 0; t < step.tokens(); t += stride) {
      few.experts.insert(few.experts.end(), step.experts.begin() + step.offsets[at(t)],
                         step.experts.begin() + step.offsets[at(t + 1)]);
      few.offsets.push_back(static_cast<std::int64_t>(few.experts.size()));
    }
    sample.push_back(std::move(few));
  }
  return sample;
}

bool has_slots(std::span<const experts::Routing> tokens) {
  return std::ranges::any_of(tokens, [](const auto& step) { return step.slots() > 0; });
}

/// How steep it is by the tokens; without any, by even shares.
double judged(const Draft& draft, std::span<const experts::Routing> tokens) {
  return !has_slots(tokens) ? steepness(draft) : measure(draft, tokens).steepness;
}

/// Of all other policies' placements, refined by even shares, the best.
Draft best_start(const LayerLoad& load, const MachineShape& shape, const PolicyOptions& options) {
  std::optional<Draft> best;
  double least = std::numeric_limits<double>::infinity();
  for (const Policy& policy : policies()) {
    if (policy.place == search_best) continue;
    Draft draft(load.rows, shape, policy.place(load, shape, options));
    refine_evenly(draft);
    const double steep = judged(draft, load.tokens);
    if (best && steep >= least) continue;
    best = std::move(draft);
    least = steep;
  }
  return *best;
}
}  // namespace

Placement search_best(const LayerLoad& load, const MachineShape& shape,
                      const PolicyOptions& options) {
  const double all = std::accumulate(load.rows.begin(), load.rows.end(), 0.0);
  if (all <= 0) return pack_longest_first(load, shape, options);
  const Draft start = best_start(load, shape, options);
  if (!has_slots(load.tokens)) return start.placement();
  Draft draft = start;
  refine_by_tokens(draft, sample_of(load.tokens), options.trials);
  const bool better = judged(draft, load.tokens) <= judged(start, load.tokens);
  return better ? draft.placement() : start.placement();
}
}  // namespace switchyard::runtime
