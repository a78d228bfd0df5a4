// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/range.hpp"
#include "experts/synthetic.hpp"
#include "experts/urn.hpp"

namespace switchyard::experts {
Routing synthetic_routing(const RouterSpec& spec, double exponent, std::uint64_t seed,
                          std::int64_t step, std::uint32_t layer, std::int64_t first_token,
                          std::int64_t tokens) {
  const std::int64_t experts = spec.all_experts();
  if (spec.top_k < 1 || spec.top_k > experts) {
    throw std::invalid_argument("synthetic: top_k is " + std::to_string(spec.top_k) +
                                ", want 1 to " + std::to_string(experts));
  }
  if (!(exponent >= 0.0 && std::isfinite(exponent))) {
    throw std::invalid_argument("synthetic: exponent is " + std::to_string(exponent) +
                                ", want a finite one from 0");
  }
  require_range("synthetic", "top_k", spec.top_k, std::int64_t{1} << 17U);
  require_range("synthetic", "step", step, std::int64_t{1} << 32U);
  require_range("synthetic", "first token", first_token, std::int64_t{1} << 40U);
  require_range("synthetic", "tokens", tokens, std::int64_t{1} << 40U);
  require_range("synthetic", "last token", first_token + tokens, std::int64_t{1} << 40U);
  Urn urn(zipf_weights(experts, exponent));
  DrawNumbers numbers(seed, step, layer);
  const auto k = static_cast<std::size_t>(spec.top_k);
  Routing routing;
  routing.offsets.resize(static_cast<std::size_t>(tokens) + 1);
  routing.experts.resize(static_cast<std::size_t>(tokens) * k);
  routing.weights.assign(routing.experts.size(), 1.0F / static_cast<float>(k));
  std::size_t slot = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::size_t draw = 0; draw < k; ++draw, ++slot) {
      routing.experts[slot] = urn.draw(numbers.of_routing(first_token + t, draw));
    }
    urn.put_back();
    routing.offsets[static_cast<std::size_t>(t) + 1] = static_cast<std::int64_t>(slot);
  }
  return routing;
}

Routing peers_routing(const RouterSpec& spec, std::uint32_t seed, std::int64_t first_token,
                      std::int64_t tokens) {
  const auto experts = static_cast<std::uint32_t>(spec.all_experts());
  if (spec.top_k < 1 || spec.top_k > spec.all_experts()) {
    throw std::invalid_argument("synthetic: top_k is " + std::to_string(spec.top_k) +
                                ", want 1 to " + std::to_string(spec.all_experts()));
  }
  const auto k = static_cast<std::size_t>(spec.top_k);
  Routing routing;
  std::uint32_t state = seed;
  std::vector<std::int32_t> chosen;
  for (std::int64_t t = 0; t < first_token + tokens; ++t) {
    chosen.clear();
    while (chosen.size() < k) {
      state = state * 1664525U + 1013904223U;
      const auto expert = static_cast<std::int32_t>((state >> 8U) % experts);
      if (std::ranges::find(chosen, expert) == chosen.end()) chosen.push_back(expert);
    }
    if (t < first_token) continue;
    routing.experts.insert(routing.experts.end(), chosen.begin(), chosen.end());
    routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
  }
  routing.weights.assign(routing.experts.size(), 1.0F / static_cast<float>(k));
  return routing;
}
}  // namespace switchyard::experts
