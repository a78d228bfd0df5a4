// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/kernels/math.hpp"
#include "experts/range.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::experts {
namespace {

std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a_low = a & 0xffffffffU;
  const std::uint64_t a_high = a >> 32U;
  const std::uint64_t b_low = b & 0xffffffffU;
  const std::uint64_t b_high = b >> 32U;
  const std::uint64_t middle = a_high * b_low + ((a_low * b_low) >> 32U);
  const std::uint64_t other = a_low * b_high + (middle & 0xffffffffU);
  return a_high * b_high + (middle >> 32U) + (other >> 32U);
}

/// Integer weights of experts in a binary indexed tree: draws one and takes it out in log(experts).
class Urn {
 public:
  explicit Urn(const std::vector<std::uint64_t>& weights) : tree_(weights.size() + 1) {
    for (std::size_t i = 0; i < weights.size(); ++i) add(i, weights[i]);
  }
  /// Adds (modulo 2^64, so that a weight can be taken out again).
  void add(std::size_t item, std::uint64_t weight) {
    total_ += weight;
    for (std::size_t i = item + 1; i < tree_.size(); i += i & (~i + 1)) tree_[i] += weight;
  }
  [[nodiscard]] std::uint64_t total() const { return total_; }
  /// The item whose share of [0, total) holds `point`.
  [[nodiscard]] std::size_t find(std::uint64_t point) const {
    std::size_t before = 0;
    for (std::size_t step = std::bit_floor(tree_.size() - 1); step > 0; step /= 2) {
      if (before + step >= tree_.size() || tree_[before + step] > point) continue;
      before += step;
      point -= tree_[before];
    }
    return before;
  }

 private:
  std::vector<std::uint64_t> tree_;
  std::uint64_t total_ = 0;
};

}  // namespace

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
  std::vector<std::uint64_t> weights(static_cast<std::size_t>(experts));
  for (std::size_t e = 0; e < weights.size(); ++e) {
    const double share = portable::exp(-exponent * portable::log(static_cast<double>(e + 1)));
    weights[e] =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::floor(share * 0x1p32 + 0.5)));
  }
  Urn urn(weights);
  const auto k = static_cast<std::size_t>(spec.top_k);
  const std::array<std::uint32_t, 2> key = {static_cast<std::uint32_t>(seed),
                                            static_cast<std::uint32_t>(seed >> 32U)};
  Routing routing;
  routing.offsets.resize(static_cast<std::size_t>(tokens) + 1);
  routing.experts.resize(static_cast<std::size_t>(tokens) * k);
  routing.weights.assign(routing.experts.size(), 1.0F / static_cast<float>(k));
  std::size_t slot = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto token = static_cast<std::uint64_t>(first_token + t);
    const std::size_t first_slot = slot;
    std::array<std::uint32_t, 4> words{};
    for (std::size_t draw = 0; draw < k; ++draw, ++slot) {
      if (draw % 2 == 0) {
        const auto place = static_cast<std::uint32_t>(((token >> 32U) << 24U) | (draw / 2) << 8U |
                                                      static_cast<std::uint32_t>(Stream::kRouting));
        words = philox(
            {static_cast<std::uint32_t>(token), layer, static_cast<std::uint32_t>(step), place},
            key);
      }
      const std::size_t pair = draw % 2 * 2;
      const std::uint64_t word = std::uint64_t{words[pair]} << 32U | words[pair + 1];
      const std::size_t expert = urn.find(multiply_high(word, urn.total()));
      urn.add(expert, ~weights[expert] + 1);  // taken out
      routing.experts[slot] = static_cast<std::int32_t>(expert);
    }
    for (std::size_t i = first_slot; i < slot; ++i) {
      const auto expert = static_cast<std::size_t>(routing.experts[i]);
      urn.add(expert, weights[expert]);  // put back for the next token
    }
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
