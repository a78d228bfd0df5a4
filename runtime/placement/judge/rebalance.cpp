// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/judge/rebalance.hpp"

#include <array>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "experts/index.hpp"
#include "runtime/placement/policies/draft.hpp"

namespace switchyard::runtime {
namespace {
std::string in_ms(double seconds) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.4g ms", 1e3 * seconds);
  return text.data();
}

std::string in_words(const RebalanceDecision& decision, std::int64_t pays_within) {
  const std::string moving = "rebalance: " + std::to_string(decision.migration.copies()) +
                             " copies to move hold steps up for " + in_ms(decision.cost_s);
  if (decision.saved_s <= 0) return moving + " and save nothing: experts stay";
  const double steps = decision.cost_s / decision.saved_s;
  std::array<char, 32> after{};
  std::snprintf(after.data(), after.size(), "%.1f", steps);
  return moving + " and save " + in_ms(decision.saved_s) + " a step: pays after " + after.data() +
         " steps, want at most " + std::to_string(pays_within) +
         (decision.moves ? ": experts move" : ": experts stay");
}
}  // namespace

RecentLoad::RecentLoad(std::int64_t layers, std::int64_t experts, std::int64_t steps)
    : layers_(layers),
      experts_(experts),
      most_(at(steps)),
      sums_(at(layers), std::vector<std::int64_t>(at(experts), 0)) {
  if (steps < 1) {
    throw std::invalid_argument("rebalance: window of " + std::to_string(steps) +
                                " steps, want at least 1");
  }
}

void RecentLoad::add(std::vector<std::vector<std::int64_t>> load) {
  if (load.size() != sums_.size()) {
    throw std::invalid_argument("rebalance: load of " + std::to_string(load.size()) +
                                " layers, want " + std::to_string(layers_));
  }
  for (const auto& layer : load) {
    if (static_cast<std::int64_t>(layer.size()) == experts_) continue;
    throw std::invalid_argument("rebalance: load of " + std::to_string(layer.size()) +
                                " experts, want " + std::to_string(experts_));
  }
  const auto shift = [&](const std::vector<std::vector<std::int64_t>>& step, std::int64_t sign) {
    for (std::size_t l = 0; l < sums_.size(); ++l) {
      for (std::size_t e = 0; e < sums_[l].size(); ++e) sums_[l][e] += sign * step[l][e];
    }
  };
  shift(load, 1);
  window_.push_back(std::move(load));
  if (window_.size() <= most_) return;
  shift(window_.front(), -1);
  window_.pop_front();
}

LayerLoad RecentLoad::of(std::int64_t layer) const {
  const auto& sum = sums_[at(layer)];
  return {.rows = std::vector<double>(sum.begin(), sum.end()), .tokens = {}};
}

RebalanceDecision decide(const RecentLoad& load, const std::vector<Placement>& now,
                         const std::vector<Placement>& plan, const MachineShape& shape,
                         const RebalanceCosts& costs) {
  std::vector<LayerLoad> sums;
  for (std::int64_t layer = 0; layer < std::ssize(now); ++layer) sums.push_back(load.of(layer));
  return decide(sums, load.steps(), now, plan, shape, costs);
}

RebalanceDecision decide(const std::vector<LayerLoad>& load, std::int64_t steps,
                         const std::vector<Placement>& now, const std::vector<Placement>& plan,
                         const MachineShape& shape, const RebalanceCosts& costs) {
  if (now.size() != plan.size()) {
    throw std::invalid_argument("rebalance: plan for " + std::to_string(plan.size()) +
                                " layers, want " + std::to_string(now.size()));
  }
  RebalanceDecision decision;
  double rows = 0;
  for (std::size_t layer = 0; layer < plan.size(); ++layer) {
    const auto& loads = load[layer].rows;
    rows += Draft(loads, shape, now[layer]).worst() - Draft(loads, shape, plan[layer]).worst();
    decision.migration +=
        migration_of(now[layer], plan[layer], shape, costs.expert_bytes, costs.links);
  }
  if (steps > 0) decision.saved_s = rows * costs.row_s / static_cast<double>(steps);
  decision.cost_s = decision.migration.stall_s() * (1 - costs.overlap);
  decision.moves = decision.saved_s > 0 && decision.migration.copies() > 0 &&
                   decision.cost_s <= decision.saved_s * static_cast<double>(costs.pays_within);
  decision.words = in_words(decision, costs.pays_within);
  return decision;
}
}  // namespace switchyard::runtime
