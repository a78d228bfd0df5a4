// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fast.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "experts/index.hpp"
#include "runtime/layer/plan.hpp"
#include "runtime/run/token_source.hpp"
#include "runtime/simulate/fast_count.hpp"

namespace switchyard::runtime {
FastEngine::FastEngine(const Machine& machine, FabricLinks fabric, int ranks)
    : machine_(machine), ranks_(ranks), links_(machine, std::move(fabric)), bytes_(links_.count()) {
  if (ranks < 1 || ranks > machine.ranks()) {
    throw std::invalid_argument("simulate: " + std::to_string(ranks) + " ranks, want 1 to the " +
                                std::to_string(machine.ranks()) + " of " + machine.name);
  }
}

LayerEstimate FastEngine::layer(const LayerChoice& choice, const Placement& placement,
                                const FastSettings& settings) {
  if (placement.ranks() != ranks_) {
    throw std::invalid_argument("simulate: a placement on " + std::to_string(placement.ranks()) +
                                " ranks, want " + std::to_string(ranks_));
  }
  FastCount counts(links_, placement, ranks_, settings);
  std::vector<std::int32_t> hosts(at(choice.top_k));
  LayerEstimate estimate;
  double slots = 0;
  for (int rank = 0; rank < ranks_; ++rank) {
    const TokenShare share = share_of(choice.tokens, rank, ranks_);
    for (std::int64_t token = 0; token < share.count; ++token) {
      const auto chosen =
          choice.chosen.subspan(at((share.first + token) * choice.top_k), at(choice.top_k));
      choose_hosts(chosen, placement, rank, token, hosts);
      for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
        if (hosts[slot] == kNowhere) continue;
        counts.slot(rank, static_cast<std::int32_t>(token), chosen[slot], hosts[slot]);
        ++slots;
      }
    }
    counts.end_home(rank);
  }
  counts.finish();

  estimate.logical_bytes = slots * (settings.row_bytes + settings.result_bytes);
  if (settings.network) {
    estimate.dispatch = counts.dispatch_time(machine_);
    estimate.combine = counts.combine_time(machine_);
  }
  for (const Flows& flows : counts.flows()) {
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] += flows.bytes()[i];
    for (std::size_t i = 0; i < kAllTiers.size(); ++i) {
      estimate.tier_bytes[i] += flows.tier_bytes()[i];
      estimate.wire_bytes += flows.tier_bytes()[i];
    }
  }
  compute(counts, placement, settings, choice.tokens, estimate);
  return estimate;
}

void FastEngine::compute(const FastCount& counts, const Placement& placement,
                         const FastSettings& settings, std::int64_t tokens,
                         LayerEstimate& estimate) const {
  std::vector<double> seconds(at(ranks_));
  std::vector<std::int64_t> rows(at(ranks_));
  for (int rank = 0; rank < placement.ranks(); ++rank) {
    for (const std::int64_t count : counts.copy_rows(rank)) {
      if (count == 0) continue;
      rows[at(rank)] += count;
      seconds[at(rank)] +=
          machine_.expert_seconds(settings.weights, settings.hidden, settings.width, count);
    }
  }
  for (int rank = 0; settings.shared_width > 0 && rank < ranks_; ++rank) {
    seconds[at(rank)] +=
        machine_.expert_seconds(settings.weights, settings.hidden, settings.shared_width,
                                share_of(tokens, rank, ranks_).count);
  }
  const auto most = std::ranges::max_element(rows);
  const double mean =
      static_cast<double>(std::accumulate(rows.begin(), rows.end(), std::int64_t{0})) / ranks_;
  estimate.balancedness = *most > 0 ? mean / static_cast<double>(*most) : 1;
  const double all = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  const auto slowest = std::ranges::max_element(seconds);
  const double crowded = all / ranks_ * machine_.crowding();
  estimate.compute_s = settings.balanced ? crowded : std::max(*slowest, crowded);
  if (estimate.compute_s > *slowest || settings.balanced) {
    estimate.compute_limit = "all ranks together";
  } else {
    const auto rank = slowest - seconds.begin();
    estimate.compute_limit =
        "rank " + std::to_string(rank) + ": " + std::to_string(rows[at(rank)]) + " rows";
  }
}

std::vector<LinkUse> FastEngine::busiest(std::size_t most) const {
  return busiest_links(links_, bytes_, most);
}

void FastEngine::forget_use() {
  std::ranges::fill(bytes_, 0);
}
}  // namespace switchyard::runtime
