// SPDX-License-Identifier: Apache-2.0
// Co-activation: which experts on one node save most rows between nodes.
#include <algorithm>
#include <numeric>
#include <utility>

#include "experts/index.hpp"
#include "runtime/placement/policies/all.hpp"

namespace switchyard::runtime {
namespace {
constexpr double kSlack = 1.05;             // of a rank's load over the mean
constexpr std::int64_t kMostTokens = 8192;  // that are looked at, evenly over the window
constexpr std::size_t kCandidates = 32;     // pairs whose exact saving is computed

/// How many experts of each token every part (a node, or a rank where there is one node) has.
class Crossings {
 public:
  Crossings(const LayerLoad& load, int parts) : parts_(at(parts)), tokens_of_(load.rows.size()) {
    std::int64_t all = 0;
    for (const auto& step : load.tokens) all += step.tokens();
    const std::int64_t stride = std::max<std::int64_t>(1, all / kMostTokens);
    std::int64_t number = 0;
    for (const auto& step : load.tokens) {
      for (std::int64_t t = 0; t < step.tokens(); ++t, ++number) {
        if (number % stride != 0) continue;
        for (auto s = step.offsets[at(t)]; s < step.offsets[at(t + 1)]; ++s) {
          if (step.experts[at(s)] >= 0) tokens_of_[at(step.experts[at(s)])].push_back(count_);
        }
        ++count_;
      }
    }
    has_.assign(count_ * parts_, 0);
  }

  void shift(std::int32_t expert, int part, int by) {
    for (const auto token : tokens_of_[at(expert)]) {
      std::uint16_t& has = has_[token * parts_ + at(part)];
      rows_ -= has > 0 ? 1 : 0;
      has = static_cast<std::uint16_t>(has + by);
      rows_ += has > 0 ? 1 : 0;
    }
  }
  /// Parts that tokens go to, summed up: their own part among them, if they do.
  [[nodiscard]] std::int64_t rows() const { return rows_; }

  /// Rows that are saved if `expert` goes from its part to each: [parts].
  void savings(std::int32_t expert, int from, std::vector<std::int64_t>& saved) const {
    saved.assign(parts_, 0);
    std::int64_t left = 0;
    for (const auto token : tokens_of_[at(expert)]) {
      const std::uint16_t* has = has_.data() + token * parts_;
      left += has[at(from)] == 1 ? 1 : 0;
      for (std::size_t part = 0; part < parts_; ++part) saved[part] -= has[part] == 0 ? 1 : 0;
    }
    for (auto& each : saved) each += left;
    saved[at(from)] = 0;
  }

  /// What a swap of a (on part p) and b (on part q) saves less than the two moves by themselves: a
  /// token of both needs both parts before and after.
  [[nodiscard]] std::int64_t shared(std::int32_t a, int p, std::int32_t b, int q) const {
    const auto& first = tokens_of_[at(a)];
    const auto& second = tokens_of_[at(b)];
    std::int64_t rows = 0;
    for (std::size_t i = 0, j = 0; i < first.size() && j < second.size();) {
      if (first[i] < second[j]) {
        ++i;
      } else if (second[j] < first[i]) {
        ++j;
      } else {
        rows += has_[first[i] * parts_ + at(p)] == 1 ? 1 : 0;
        rows += has_[first[i] * parts_ + at(q)] == 1 ? 1 : 0;
        ++i;
        ++j;
      }
    }
    return rows;
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }

 private:
  std::size_t parts_;
  std::size_t count_ = 0;
  std::int64_t rows_ = 0;
  std::vector<std::vector<std::size_t>> tokens_of_;  ///< [experts], ascending
  std::vector<std::uint16_t> has_;                   ///< [tokens, parts]
};

/// Expert a goes to the rank of expert b and the other way round; b is -1: a goes to `to`.
struct Exchanged {
  std::int32_t a = -1;
  std::int32_t b = -1;
  int to = -1;
  std::int64_t saved = 0;
};

class Together {
 public:
  Together(Draft draft, const LayerLoad& load, const MachineShape& shape, double limit)
      : draft_(std::move(draft)),
        shape_(shape),
        by_rank_(shape.nodes() == 1),
        limit_(limit),
        crossings_(load, by_rank_ ? shape.ranks : shape.nodes()),
        savings_(load.rows.size()) {
    for (std::int32_t e = 0; e < draft_.experts(); ++e) crossings_.shift(e, part_of(e), 1);
  }

  /// One step; false: nothing saves a row any more.
  bool improve() {
    for (std::int32_t e = 0; e < draft_.experts(); ++e) {
      crossings_.savings(e, part_of(e), savings_[at(e)]);
    }
    Exchanged best;
    for (const Exchanged& each : candidates()) {
      std::int64_t saved = each.saved;
      if (saved <= best.saved) break;  // they come by falling savings, which only shrink
      if (each.b >= 0) saved -= crossings_.shared(each.a, part_of(each.a), each.b, part_of(each.b));
      if (saved > best.saved) {
        best = each;
        best.saved = saved;
      }
    }
    if (best.a < 0) return false;
    apply(best);
    return true;
  }
  /// Whole ranks change places, which changes no rank's load; false: no two of them save a row.
  bool improve_ranks() {
    bool better = false;
    for (int p = 0; p < draft_.ranks(); ++p) {
      for (int q = p + 1; q < draft_.ranks(); ++q) {
        if (part(p) == part(q)) continue;
        const std::int64_t before = crossings_.rows();
        swap_ranks(p, q);
        if (crossings_.rows() < before) {
          better = true;
        } else {
          swap_ranks(p, q);
        }
      }
    }
    return better;
  }
  [[nodiscard]] bool blind() const { return crossings_.empty(); }
  [[nodiscard]] Placement placement() const { return draft_.placement(); }

 private:
  [[nodiscard]] int host(std::int32_t expert) const { return draft_.hosts_of(expert)[0]; }
  [[nodiscard]] int part(int rank) const { return by_rank_ ? rank : shape_.node_of(rank); }
  [[nodiscard]] int part_of(std::int32_t expert) const { return part(host(expert)); }

  [[nodiscard]] bool fits(std::int32_t leaves, std::int32_t comes, int rank) const {
    const double less = leaves < 0 ? 0 : draft_.rows(leaves);
    const double after = draft_.load(rank) - less + draft_.rows(comes);
    return after <= std::max(limit_, draft_.load(rank));
  }

  /// The most promising swaps and moves, by falling savings.
  [[nodiscard]] std::vector<Exchanged> candidates() const {
    std::vector<Exchanged> all;
    for (std::int32_t a = 0; a < draft_.experts(); ++a) {
      for (std::int32_t b = a + 1; b < draft_.experts(); ++b) {
        const std::int64_t saved =
            savings_[at(a)][at(part_of(b))] + savings_[at(b)][at(part_of(a))];
        if (saved <= 0 || part_of(a) == part_of(b)) continue;
        if (!fits(b, a, host(b)) || !fits(a, b, host(a))) continue;
        all.push_back({.a = a, .b = b, .saved = saved});
      }
      for (int rank = 0; rank < draft_.ranks(); ++rank) {
        const std::int64_t saved = savings_[at(a)][at(part(rank))];
        if (saved <= 0 || draft_.full(rank) || !fits(-1, a, rank)) continue;
        all.push_back({.a = a, .to = rank, .saved = saved});
      }
    }
    const auto more = [](const Exchanged& x, const Exchanged& y) { return x.saved > y.saved; };
    std::stable_sort(all.begin(), all.end(), more);
    if (all.size() > kCandidates) all.resize(kCandidates);
    return all;
  }

  void apply(const Exchanged& step) {
    relocate(step.a, step.b < 0 ? step.to : host(step.b), step.b);
  }

  void swap_ranks(int p, int q) {
    const auto on_p = draft_.experts_of(p);
    const auto on_q = draft_.experts_of(q);
    for (const auto expert : on_p) leave(expert, p);
    for (const auto expert : on_q) leave(expert, q);
    for (const auto expert : on_p) enter(expert, q);
    for (const auto expert : on_q) enter(expert, p);
  }
  void leave(std::int32_t expert, int rank) {
    crossings_.shift(expert, part(rank), -1);
    draft_.drop(expert, rank);
  }
  void enter(std::int32_t expert, int rank) {
    crossings_.shift(expert, part(rank), 1);
    draft_.add(expert, rank);
  }

  void relocate(std::int32_t a, int to, std::int32_t b) {
    const int from = host(a);
    leave(a, from);
    if (b >= 0) {
      leave(b, to);
      enter(b, from);
    }
    enter(a, to);
  }

  Draft draft_;
  MachineShape shape_;
  bool by_rank_;
  double limit_;
  Crossings crossings_;
  std::vector<std::vector<std::int64_t>> savings_;  ///< [experts][parts]
};
}  // namespace

Placement keep_together(const LayerLoad& load, const MachineShape& shape,
                        const PolicyOptions& options) {
  Draft draft(load.rows, shape, pack_longest_first(load, shape, options));
  const auto experts = static_cast<std::int64_t>(load.rows.size());
  const Draft plain(load.rows, shape, Placement::linear(experts, shape.ranks));
  const double mean = std::accumulate(load.rows.begin(), load.rows.end(), 0.0) / shape.ranks;
  // Never as uneven as what nobody planned.
  const double limit =
      std::max(draft.worst(), std::min(kSlack * mean, (draft.worst() + plain.worst()) / 2));
  Together together(std::move(draft), load, shape, limit);
  if (together.blind()) return together.placement();
  constexpr int kMostSweeps = 8;
  for (int sweep = 0; sweep < kMostSweeps && together.improve_ranks(); ++sweep) continue;
  for (std::int64_t step = 0; step < 4 * experts && together.improve(); ++step) continue;
  for (int sweep = 0; sweep < kMostSweeps && together.improve_ranks(); ++sweep) continue;
  return together.placement();
}
}  // namespace switchyard::runtime
