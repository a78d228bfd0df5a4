// SPDX-License-Identifier: Apache-2.0
// The tokens of each workload, as README.md specifies them.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "experts/index.hpp"
#include "experts/urn.hpp"
#include "runtime/trace/workload.hpp"

namespace switchyard::runtime {
namespace {
using experts::DrawNumbers;
using experts::multiply_high;
using experts::Urn;
using Weights = std::vector<std::uint64_t>;

constexpr std::uint64_t kOne = std::uint64_t{1} << 32U;  // the weight of a uniform draw
constexpr std::uint32_t kWholeStep = 0xffffffff;         // the layer of numbers of all layers

std::uint64_t weight_of(double share) {
  return static_cast<std::uint64_t>(std::floor(share * 0x1p32 + 0.5));
}

/// Below `count`.
std::int64_t below(std::uint64_t number, std::int64_t count) {
  return static_cast<std::int64_t>(multiply_high(number, static_cast<std::uint64_t>(count)));
}

/// Heads with probability `share`, exactly so for 0 and 1.
bool heads(std::uint64_t number, double share) {
  return (number >> 32U) < weight_of(share);
}

/// 0 to count - 1 in an order of their own: from the last on, each swaps with one up to itself.
std::vector<std::int32_t> shuffled(std::int64_t count, const DrawNumbers& numbers,
                                   std::int64_t first_number) {
  std::vector<std::int32_t> order(at(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = count - 1; i > 0; --i) {
    const auto number = numbers.of_layer(static_cast<std::uint32_t>(first_number + i));
    std::swap(order[at(i)], order[at(below(number, i + 1))]);
  }
  return order;
}

/// What all tokens of a layer have in common.
struct LayerDraw {
  const TraceInfo& info;
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::uint32_t layer = 0;
  std::int64_t tokens = 0;

  [[nodiscard]] DrawNumbers numbers() const { return {seed, step, layer}; }
  [[nodiscard]] DrawNumbers numbers_of(std::int64_t other_step) const {
    return {seed, other_step, layer};
  }
  [[nodiscard]] std::int64_t drawn_expert() const {
    return below(numbers_of(0).of_layer(0), info.experts);
  }
};

/// k draws a token, one after the other.
std::vector<std::int32_t> plain_draws(const LayerDraw& draw, const Weights& weights) {
  Urn urn(weights);
  DrawNumbers numbers = draw.numbers();
  std::vector<std::int32_t> chosen;
  for (std::int64_t token = 0; token < draw.tokens; ++token) {
    for (std::size_t slot = 0; slot < at(draw.info.top_k); ++slot) {
      chosen.push_back(urn.draw(numbers.of_routing(token, slot)));
    }
    urn.put_back();
  }
  return chosen;
}

/// As uniform draws, but that `hot` is slot 0 of `share` of the tokens, and of no others.
std::vector<std::int32_t> hot_draws(const LayerDraw& draw, std::int64_t hot, double share) {
  Weights weights(at(draw.info.experts), kOne);
  weights[at(hot)] = 0;
  Urn urn(weights);
  DrawNumbers numbers = draw.numbers();
  std::vector<std::int32_t> chosen;
  for (std::int64_t token = 0; token < draw.tokens; ++token) {
    // Where every expert has to be chosen, so has this one.
    const bool is_hot =
        draw.info.top_k == draw.info.experts || heads(numbers.of_coin(token, 0), share);
    if (is_hot) chosen.push_back(static_cast<std::int32_t>(hot));
    for (std::size_t slot = is_hot ? 1 : 0; slot < at(draw.info.top_k); ++slot) {
      chosen.push_back(urn.draw(numbers.of_routing(token, slot)));
    }
    urn.put_back();
  }
  return chosen;
}

/// One of `ranks` consecutive blocks, the first (experts mod ranks) of one expert more.
Weights hot_block(const LayerDraw& draw, double share, std::int64_t ranks) {
  const std::int64_t experts = draw.info.experts;
  const std::int64_t block = below(draw.numbers_of(0).of_layer(0), ranks);
  const std::int64_t size = experts / ranks + (block < experts % ranks ? 1 : 0);
  const std::int64_t first = experts / ranks * block + std::min(block, experts % ranks);
  const auto each = [](double part, std::int64_t of) {
    return std::max<std::uint64_t>(1, of > 0 ? weight_of(part / static_cast<double>(of)) : 1);
  };
  Weights weights(at(experts), each(1 - share, experts - size));
  std::fill_n(weights.begin() + first, size, each(share, size));
  return weights;
}

/// Expert e and e + experts / 2 are partners; of an odd number the last has none.
std::vector<std::int32_t> paired_draws(const LayerDraw& draw, double share) {
  const auto half = static_cast<std::int32_t>(draw.info.experts / 2);
  Urn urn(Weights(at(draw.info.experts), kOne));
  DrawNumbers numbers = draw.numbers();
  std::vector<std::int32_t> chosen;
  for (std::int64_t token = 0; token < draw.tokens; ++token) {
    for (std::size_t slot = 0; slot < at(draw.info.top_k); ++slot) {
      const std::int32_t expert = urn.draw(numbers.of_routing(token, slot));
      chosen.push_back(expert);
      if (slot + 1 == at(draw.info.top_k) || expert >= 2 * half) continue;
      const std::int32_t partner = expert < half ? expert + half : expert - half;
      if (!heads(numbers.of_coin(token, slot), share) || !urn.take(partner)) continue;
      chosen.push_back(partner);
      ++slot;
    }
    urn.put_back();
  }
  return chosen;
}

/// Tokens take k after k of one shuffled order of all experts after another. Who has the end of one
/// takes from the next only what it does not have yet: that is put in front of the rest.
std::vector<std::int32_t> balanced_draws(const LayerDraw& draw) {
  const DrawNumbers numbers = draw.numbers();
  const std::int64_t experts = draw.info.experts;
  std::vector<std::int32_t> order;
  std::size_t next = 0;
  std::int64_t orders = 0;
  std::vector<std::int32_t> chosen;
  for (std::int64_t token = 0; token < draw.tokens; ++token) {
    const std::size_t first = chosen.size();
    while (chosen.size() - first < at(draw.info.top_k)) {
      if (next == order.size()) {
        order = shuffled(experts, numbers, orders * experts);
        ++orders;
        next = 0;
        const auto had = [&](std::int32_t expert) {
          return std::find(chosen.begin() + static_cast<std::ptrdiff_t>(first), chosen.end(),
                           expert) != chosen.end();
        };
        std::stable_partition(order.begin(), order.end(),
                              [&](std::int32_t expert) { return !had(expert); });
      }
      chosen.push_back(order[next++]);
    }
  }
  return chosen;
}

Weights all_but(const LayerDraw& draw, std::int64_t idle) {
  const auto order = shuffled(draw.info.experts, draw.numbers_of(0), 0);
  Weights weights(at(draw.info.experts), kOne);
  for (std::int64_t i = 0; i < idle; ++i) weights[at(order[at(i)])] = 0;
  return weights;
}

Weights table_weights(const Workload& workload, std::int64_t step, std::uint32_t layer) {
  const auto turn = static_cast<std::size_t>(step / workload.domain_steps);
  const auto& domain = workload.table->domains[workload.domains[turn % workload.domains.size()]];
  Weights weights;
  for (const double mean : domain.means[layer]) weights.push_back(weight_of(mean));
  return weights;
}

std::vector<std::int32_t> draws_of(const Workload& workload, const LayerDraw& draw) {
  const std::int64_t experts = draw.info.experts;
  switch (workload.kind) {
    case WorkloadKind::kBalanced:
      return balanced_draws(draw);
    case WorkloadKind::kZipf:
      return plain_draws(draw, experts::zipf_weights(experts, workload.exponent));
    case WorkloadKind::kHotExpert:
      return hot_draws(draw, draw.drawn_expert(), workload.share);
    case WorkloadKind::kRotating:
      return hot_draws(draw, (draw.drawn_expert() + draw.step / workload.count) % experts,
                       workload.share);
    case WorkloadKind::kBurst:
      if (draw.step % workload.count != workload.count - 1) break;
      return hot_draws(draw, draw.drawn_expert(), workload.share);
    case WorkloadKind::kHotRank:
      return plain_draws(draw, hot_block(draw, workload.share, workload.count));
    case WorkloadKind::kPairs:
      return paired_draws(draw, workload.share);
    case WorkloadKind::kZeroTokens:
      return plain_draws(draw, all_but(draw, workload.count));
    case WorkloadKind::kLoad:
      return plain_draws(draw, table_weights(workload, draw.step, draw.layer));
    case WorkloadKind::kUniform:
    case WorkloadKind::kRagged:
      break;
  }
  return plain_draws(draw, Weights(at(experts), kOne));
}
}  // namespace

std::int64_t workload_tokens(const Workload& workload, std::uint64_t seed, std::int64_t step,
                             std::int64_t tokens) {
  if (workload.kind != WorkloadKind::kRagged) return tokens;
  const auto least = static_cast<std::int64_t>(workload.share * static_cast<double>(tokens));
  const DrawNumbers numbers(seed, step, kWholeStep);
  return least + below(numbers.of_layer(0), tokens - least + 1);
}

TraceLayer make_layer(const Workload& workload, const TraceInfo& info, std::uint64_t seed,
                      std::int64_t step, std::int64_t layer, std::int64_t tokens) {
  TraceLayer made;
  made.tokens = tokens;
  made.chosen = draws_of(workload, {.info = info,
                                    .seed = seed,
                                    .step = step,
                                    .layer = static_cast<std::uint32_t>(layer),
                                    .tokens = tokens});
  made.counts = counts_of(made.chosen, info.experts);
  if (info.detail == TraceDetail::kCounts) made.chosen.clear();
  return made;
}
}  // namespace switchyard::runtime
