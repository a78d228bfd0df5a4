// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/placed.hpp"

#include <algorithm>
#include <filesystem>
#include <numeric>
#include <stdexcept>

#include "experts/index.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/placement/policies/hosted.hpp"

namespace switchyard::runtime::page {
namespace {
constexpr int kMostTraffic = 4096;  // ranks whose pairs are counted: 128 MiB

/// One placement while steps are added to it.
class Counting {
 public:
  Counting(const std::string& name, TokenSteps& steps, int ranks) : ranks_(ranks) {
    const bool layered = Placement::layered(name);
    for (std::int64_t layer = 0; layer < steps.layers(); ++layer) {
      placements_.push_back(Placement::from_name(
          name, steps.experts(), ranks, layered ? steps.layer_number(layer) : kEveryLayer));
    }
    placed_.name = std::filesystem::path(name).filename().string();
    placed_.load = steps.origin();
    placed_.ranks = ranks;
    lay_out(steps.layers());
    placed_.rows = {.rows = steps.layers(), .columns = ranks, .values = {}};
    placed_.rows.values.assign(at(steps.layers() * ranks), 0);
    if (ranks <= kMostTraffic) {
      placed_.traffic = {.rows = ranks, .columns = ranks, .values = {}};
      placed_.traffic.values.assign(at(ranks) * at(ranks), 0);
    }
  }

  void add(std::int64_t layer, const experts::Routing& tokens) {
    const Placement& placement = placements_[at(layer)];
    std::vector<double> of_layer(at(ranks_), 0);
    std::vector<std::int64_t> seen(at(ranks_), -1);
    std::int64_t token = 0;
    for_each_token(tokens, placement, [&](int home, auto chosen, auto hosts) {
      for (std::size_t s = 0; s < hosts.size(); ++s) {
        const std::int32_t host = hosts[s];
        if (host == kNowhere) continue;
        ++of_layer[at(host)];
        ++placed_.copies.values[slot_of(layer, chosen[s], host)];
        if (seen[at(host)] == token) continue;
        seen[at(host)] = token;
        if (placed_.traffic.rows > 0) {
          ++placed_.traffic.values[at(home) * at(ranks_) + at(host)];
        }
      }
      ++token;
    });
    for (std::size_t r = 0; r < of_layer.size(); ++r) {
      placed_.rows.values[at(layer) * of_layer.size() + r] += of_layer[r];
    }
    step_mean_ += std::accumulate(of_layer.begin(), of_layer.end(), 0.0) / ranks_;
    step_most_ += *std::max_element(of_layer.begin(), of_layer.end());
  }

  void end_step(std::int64_t number) {
    placed_.steps.push_back(number);
    placed_.balancedness.push_back(step_most_ > 0 ? step_mean_ / step_most_ : 1);
    mean_ += step_mean_;
    most_ += step_most_;
    step_mean_ = step_most_ = 0;
  }

  [[nodiscard]] Placed take() {
    placed_.overall = most_ > 0 ? mean_ / most_ : 1;
    return std::move(placed_);
  }

 private:
  /// Copies rank after rank: as many columns a rank as the fullest layer has there.
  void lay_out(std::int64_t layers) {
    std::vector<std::int64_t> width(at(ranks_), 0);
    for (const Placement& placement : placements_) {
      for (int rank = 0; rank < ranks_; ++rank) {
        width[at(rank)] = std::max(width[at(rank)], std::ssize(placement.experts_of(rank)));
      }
    }
    begins_.assign(at(ranks_) + 1, 0);
    std::partial_sum(width.begin(), width.end(), begins_.begin() + 1);
    placed_.cuts.assign(begins_.begin() + 1, begins_.end() - 1);
    placed_.copies = {.rows = layers, .columns = begins_.back(), .values = {}};
    placed_.copies.values.assign(at(layers * begins_.back()), kUnknown);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      for (int rank = 0; rank < ranks_; ++rank) {
        const std::int64_t count = std::ssize(placements_[at(layer)].experts_of(rank));
        const auto first =
            placed_.copies.values.begin() + layer * begins_.back() + begins_[at(rank)];
        std::fill(first, first + count, 0.0);
      }
    }
  }

  /// Of a copy, in the values of all copies.
  [[nodiscard]] std::size_t slot_of(std::int64_t layer, std::int32_t expert, int rank) const {
    const auto experts = placements_[at(layer)].experts_of(rank);
    const auto place = std::ranges::lower_bound(experts, expert) - experts.begin();
    return at(layer * begins_.back() + begins_[at(rank)] + place);
  }

  int ranks_;
  std::vector<Placement> placements_;  ///< [layers]
  std::vector<std::int64_t> begins_;   ///< [ranks + 1], columns of copies
  Placed placed_;
  double step_mean_ = 0;
  double step_most_ = 0;
  double mean_ = 0;
  double most_ = 0;
};

int ranks_of(const PlacedRequest& request) {
  int ranks = request.ranks;
  for (const std::string& name : request.placements) {
    if (name == "linear" || name == "round-robin") continue;
    const int has = Placement::ranks_in(name);
    if (ranks != 0 && has != ranks) {
      throw std::invalid_argument(name + ": placement for " + std::to_string(has) +
                                  " ranks, want " + std::to_string(ranks));
    }
    ranks = has;
  }
  return ranks;
}

/// Indices of the steps to look at: all, or as many as fit, evenly spaced.
std::vector<std::int64_t> chosen_steps(TokenSteps& steps, const PlacedRequest& request) {
  std::int64_t slots = 1;  // of a step, by its first layer
  if (steps.steps() > 0) {
    slots = std::max<std::int64_t>(std::ssize(steps.routing(0, 0).experts) * steps.layers(), 1);
  }
  const std::int64_t most = std::max<std::int64_t>(request.most_slots / slots, 1);
  std::vector<std::int64_t> chosen;
  const std::int64_t count = std::min(most, steps.steps());
  for (std::int64_t i = 0; i < count; ++i) chosen.push_back(i * steps.steps() / count);
  return chosen;
}
}  // namespace

void add_placed(const PlacedRequest& request, Findings& findings,
                const std::function<void(std::int64_t, std::int64_t)>& progress) {
  const auto steps = trace_steps(request.trace, {});
  const int ranks = ranks_of(request);
  const std::vector<std::int64_t> chosen = chosen_steps(*steps, request);
  Load load{.name = steps->origin(), .rows = {}, .layer_names = {}};
  for (std::int64_t layer = 0; layer < steps->layers(); ++layer) {
    load.layer_names.push_back(std::to_string(steps->layer_number(layer)));
  }
  load.rows = {.rows = steps->layers(), .columns = steps->experts(), .values = {}};
  load.rows.values.assign(at(steps->layers() * steps->experts()), 0);
  std::vector<Counting> all;
  if (ranks > 0) {
    for (const std::string& name : request.placements) all.emplace_back(name, *steps, ranks);
  }
  std::int64_t done = 0;
  for (const std::int64_t step : chosen) {
    for (std::int64_t layer = 0; layer < steps->layers(); ++layer) {
      const experts::Routing tokens = steps->routing(step, layer);
      for (const std::int32_t expert : tokens.experts) {
        if (expert >= 0) ++load.rows.values[at(layer * steps->experts() + expert)];
      }
      for (Counting& counting : all) counting.add(layer, tokens);
    }
    for (Counting& counting : all) counting.end_step(step);
    if (progress) progress(++done, std::ssize(chosen));
  }
  if (std::ssize(chosen) < steps->steps()) {
    findings.notes.push_back("Of the " + std::to_string(steps->steps()) + " steps of " +
                             request.trace + ", " + std::to_string(chosen.size()) +
                             " evenly spaced ones were counted.");
  }
  findings.loads.push_back(load);
  for (Counting& counting : all) {
    findings.placed.push_back(counting.take());
    findings.placed.back().layer_names = load.layer_names;
  }
}
}  // namespace switchyard::runtime::page
