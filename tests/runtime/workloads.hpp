// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Routings with a known skew for the tests of placement: the same for everybody.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "experts/synthetic.hpp"
#include "runtime/placement/policies/policy.hpp"

namespace switchyard::runtime {

struct Workload {
  std::string name;
  std::vector<experts::Routing> steps;
  std::vector<double> rows;  ///< [experts]
  [[nodiscard]] LayerLoad load() const { return {.rows = rows, .tokens = steps}; }
};

inline Workload workload_of(std::string name, std::int64_t experts, experts::Routing routing) {
  Workload workload{.name = std::move(name), .steps = {}, .rows = {}};
  workload.rows.assign(static_cast<std::size_t>(experts), 0.0);
  for (const auto expert : routing.experts) workload.rows[static_cast<std::size_t>(expert)] += 1;
  workload.steps.push_back(std::move(routing));
  return workload;
}

/// Zipf by expert id, as `run --routing zipf:S` chooses.
inline Workload zipf(double exponent, std::int64_t experts, int top_k, std::int64_t tokens,
                     std::int64_t step = 0) {
  experts::RouterSpec spec;
  spec.experts = experts;
  spec.top_k = top_k;
  return workload_of("zipf", experts,
                     experts::synthetic_routing(spec, exponent, 1, step, 0, 0, tokens));
}

/// Tokens that draw top_k different experts by weight.
inline Workload weighted(std::string name, const std::vector<double>& weights, int top_k,
                         std::int64_t tokens, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  experts::Routing routing;
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::vector<double> left = weights;
    for (int k = 0; k < top_k; ++k) {
      std::discrete_distribution<std::int32_t> draw(left.begin(), left.end());
      routing.experts.push_back(draw(random));
      left[static_cast<std::size_t>(routing.experts.back())] = 0;
    }
    routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
  }
  return workload_of(std::move(name), static_cast<std::int64_t>(weights.size()),
                     std::move(routing));
}

/// One expert is chosen `times` as often as the others.
inline Workload hot_expert(std::int64_t experts, double times, int top_k, std::int64_t tokens) {
  std::vector<double> weights(static_cast<std::size_t>(experts), 1.0);
  weights[static_cast<std::size_t>(experts) / 3] = times;
  return weighted("hot expert", weights, top_k, tokens, 7);
}

/// The first experts / ranks experts are: what the linear placement has on rank 0.
inline Workload hot_rank(std::int64_t experts, int ranks, double times, int top_k,
                         std::int64_t tokens) {
  std::vector<double> weights(static_cast<std::size_t>(experts), 1.0);
  std::fill_n(weights.begin(), experts / ranks, times);
  return weighted("hot rank", weights, top_k, tokens, 11);
}

/// Every token chooses pairs, one of the first half of the experts with its own one of the second,
/// some of them more often.
inline Workload pairs(std::int64_t experts, int top_k, std::int64_t tokens) {
  const std::int64_t half = experts / 2;
  std::vector<double> weights(static_cast<std::size_t>(half));
  for (std::size_t e = 0; e < weights.size(); ++e) {
    weights[e] = 1.0 / static_cast<double>(2 * e + weights.size());
  }
  const Workload firsts = weighted("pairs", weights, top_k / 2, tokens, 13);
  experts::Routing routing;
  for (const auto expert : firsts.steps[0].experts) {
    routing.experts.push_back(expert);
    routing.experts.push_back(static_cast<std::int32_t>(half + (5 * expert + 3) % half));
  }
  for (std::int64_t t = 1; t <= tokens; ++t) routing.offsets.push_back(t * top_k);
  return workload_of("pairs", experts, std::move(routing));
}
}  // namespace switchyard::runtime
