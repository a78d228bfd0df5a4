// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/judge/judge.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "experts/index.hpp"
#include "runtime/placement/policies/bound.hpp"

namespace switchyard::runtime {
namespace {
/// A verdict while layers are added to it.
class Tally {
 public:
  explicit Tally(const MachineShape& shape)
      : shape_(shape),
        computed_(at(shape.ranks)),
        sent_(at(shape.ranks)),
        copies_(at(shape.ranks)) {}

  void add(const std::vector<experts::Routing>& tokens, const Placement& placement) {
    const LayerTraffic traffic = traffic_of(tokens, placement, shape_);
    verdict_.slowest_rows += *std::max_element(traffic.computed.begin(), traffic.computed.end());
    verdict_.mean_rows += static_cast<double>(traffic.slots) / shape_.ranks;
    verdict_.bound_rows += least_worst(traffic.load, shape_);
    verdict_.tokens = traffic.tokens;
    verdict_.slots += traffic.slots;
    const auto sum = [](TierCount& all, const TierCount& one) {
      all.rows += one.rows;
      all.results += one.results;
    };
    sum(verdict_.home, traffic.home);
    sum(verdict_.node, traffic.node);
    sum(verdict_.fabric, traffic.fabric);
    verdict_.rows_a_node += traffic.rows_a_node;
    for (std::size_t r = 0; r < computed_.size(); ++r) {
      computed_[r] += traffic.computed[r];
      sent_[r] += traffic.sent[r];
      copies_[r] += static_cast<std::int64_t>(placement.experts_of(static_cast<int>(r)).size());
    }
  }

  [[nodiscard]] Verdict verdict() const {
    Verdict all = verdict_;
    const auto worst = std::max_element(computed_.begin(), computed_.end());
    all.worst_rank = static_cast<int>(worst - computed_.begin());
    all.worst_rank_rows = *worst;
    all.most_sent = *std::max_element(sent_.begin(), sent_.end());
    all.most_copies = *std::max_element(copies_.begin(), copies_.end());
    return all;
  }

 private:
  MachineShape shape_;
  Verdict verdict_;
  std::vector<double> computed_;
  std::vector<std::int64_t> sent_;
  std::vector<std::int64_t> copies_;
};

void require_fit(const Placement& placement, const MachineShape& shape, std::int64_t layer) {
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    const auto copies = static_cast<std::int64_t>(placement.experts_of(rank).size());
    if (copies <= shape.slots) continue;
    throw std::invalid_argument("place: rank " + std::to_string(rank) + " of layer " +
                                std::to_string(layer) + " holds " + std::to_string(copies) +
                                " copies, want at most " + std::to_string(shape.slots) +
                                ", its slots");
  }
}

/// What one contender is judged by, layer after layer.
struct Docket {
  std::vector<Tally> verdicts;    ///< [windows judged]
  std::vector<Tally> hindsights;  ///< the same
  std::vector<Migration> migrations;
};

/// Tries one contender on one layer.
void try_layer(const Contender& contender, std::int64_t layer, std::int64_t number,
               const std::vector<std::vector<experts::Routing>>& tokens,
               const std::vector<LayerLoad>& loads, const JudgeSettings& settings, Docket& docket) {
  const auto experts = static_cast<std::int64_t>(loads[0].rows.size());
  Placement before = settings.before.empty() ? Placement::linear(experts, settings.shape.ranks)
                                             : settings.before[at(layer)];
  std::vector<Placement> plans;
  for (const LayerLoad& load : loads) {
    if (contender.policy) {
      plans.push_back(place(*contender.policy, load, settings.shape, settings.options));
      continue;
    }
    plans.push_back(contender.fixed[at(layer)]);
    require_fit(plans.back(), settings.shape, number);
  }
  for (std::size_t i = 0; i < docket.verdicts.size(); ++i) {
    const std::size_t judged = tokens.size() == 1 ? 0 : i + 1;
    docket.verdicts[i].add(tokens[judged], plans[i]);
    docket.hindsights[i].add(tokens[judged], plans[judged]);
    docket.migrations[i] +=
        migration_of(before, plans[i], settings.shape, settings.expert_bytes, settings.links);
    before = plans[i];
  }
}
}  // namespace

std::vector<StepWindow> cut_windows(std::int64_t steps, std::int64_t windows) {
  if (windows < 1 || windows > steps) {
    throw std::invalid_argument("--windows: got " + std::to_string(windows) + ", want 1 to " +
                                std::to_string(steps) + ", the steps there are");
  }
  std::vector<StepWindow> cut;
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < windows; ++i) {
    const std::int64_t count = steps / windows + (i < steps % windows ? 1 : 0);
    cut.push_back({.first = first, .count = count});
    first += count;
  }
  return cut;
}

std::vector<experts::Routing> tokens_in(TokenSteps& steps, std::int64_t layer,
                                        const StepWindow& window) {
  std::vector<experts::Routing> tokens;
  for (std::int64_t s = 0; s < window.count; ++s) {
    tokens.push_back(steps.routing(window.first + s, layer));
  }
  return tokens;
}

std::vector<Trial> judge(TokenSteps& steps, const std::vector<StepWindow>& windows,
                         const std::vector<Contender>& contenders, const JudgeSettings& settings) {
  const std::size_t judged = std::max<std::size_t>(1, windows.size() - 1);
  const Docket empty{.verdicts = std::vector<Tally>(judged, Tally(settings.shape)),
                     .hindsights = std::vector<Tally>(judged, Tally(settings.shape)),
                     .migrations = std::vector<Migration>(judged)};
  std::vector<Docket> dockets(contenders.size(), empty);
  for (std::int64_t layer = 0; layer < steps.layers(); ++layer) {
    std::vector<std::vector<experts::Routing>> tokens;
    std::vector<LayerLoad> loads;
    for (const StepWindow& window : windows) tokens.push_back(tokens_in(steps, layer, window));
    for (const auto& window : tokens) {
      loads.push_back({.rows = load_of(window, steps.experts()), .tokens = window});
      check(loads.back(), settings.shape);
    }
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      try_layer(contenders[c], layer, steps.layer_number(layer), tokens, loads, settings,
                dockets[c]);
    }
  }
  std::vector<Trial> trials;
  for (std::size_t c = 0; c < contenders.size(); ++c) {
    Trial trial{.name = contenders[c].name, .windows = {}};
    for (std::size_t i = 0; i < judged; ++i) {
      trial.windows.push_back({.window = windows[windows.size() == 1 ? 0 : i + 1],
                               .verdict = dockets[c].verdicts[i].verdict(),
                               .hindsight = dockets[c].hindsights[i].verdict(),
                               .migration = dockets[c].migrations[i]});
    }
    trials.push_back(std::move(trial));
  }
  return trials;
}
}  // namespace switchyard::runtime
