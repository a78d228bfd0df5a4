// SPDX-License-Identifier: Apache-2.0
#include "experts/urn.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "experts/kernels/math.hpp"
#include "experts/synthetic.hpp"

namespace switchyard::experts {
namespace {
constexpr std::uint64_t joined(std::uint32_t high, std::uint32_t low) {
  return std::uint64_t{high} << 32U | low;
}

/// The last word of a counter: a token's high bits, a number, and the stream.
std::uint32_t last_word(std::int64_t token, std::size_t number, Stream stream) {
  return static_cast<std::uint32_t>(((static_cast<std::uint64_t>(token) >> 32U) << 24U) |
                                    number << 8U | static_cast<std::uint32_t>(stream));
}
}  // namespace

std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a_low = a & 0xffffffffU;
  const std::uint64_t a_high = a >> 32U;
  const std::uint64_t b_low = b & 0xffffffffU;
  const std::uint64_t b_high = b >> 32U;
  const std::uint64_t middle = a_high * b_low + ((a_low * b_low) >> 32U);
  const std::uint64_t other = a_low * b_high + (middle & 0xffffffffU);
  return a_high * b_high + (middle >> 32U) + (other >> 32U);
}

std::vector<std::uint64_t> zipf_weights(std::int64_t experts, double exponent) {
  std::vector<std::uint64_t> weights(static_cast<std::size_t>(experts));
  for (std::size_t e = 0; e < weights.size(); ++e) {
    const double share = portable::exp(-exponent * portable::log(static_cast<double>(e + 1)));
    weights[e] =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::floor(share * 0x1p32 + 0.5)));
  }
  return weights;
}

Urn::Urn(std::span<const std::uint64_t> weights)
    : weights_(weights.begin(), weights.end()), tree_(weights.size() + 1) {
  for (std::size_t i = 0; i < weights.size(); ++i) add(i, weights[i]);
}

void Urn::add(std::size_t expert, std::uint64_t weight) {
  total_ += weight;
  for (std::size_t i = expert + 1; i < tree_.size(); i += i & (~i + 1)) tree_[i] += weight;
}

std::int32_t Urn::draw(std::uint64_t word) {
  std::uint64_t point = multiply_high(word, total_);
  std::size_t before = 0;
  for (std::size_t step = std::bit_floor(tree_.size() - 1); step > 0; step /= 2) {
    if (before + step >= tree_.size() || tree_[before + step] > point) continue;
    before += step;
    point -= tree_[before];
  }
  const auto expert = static_cast<std::int32_t>(before);
  take(expert);
  return expert;
}

bool Urn::take(std::int32_t expert) {
  const auto i = static_cast<std::size_t>(expert);
  if (weights_[i] == 0) return false;
  taken_.push_back({.expert = expert, .weight = weights_[i]});
  add(i, ~weights_[i] + 1);
  weights_[i] = 0;
  return true;
}

void Urn::put_back() {
  for (const Taken& taken : taken_) {
    const auto i = static_cast<std::size_t>(taken.expert);
    weights_[i] = taken.weight;
    add(i, taken.weight);
  }
  taken_.clear();
}

DrawNumbers::DrawNumbers(std::uint64_t seed, std::int64_t step, std::uint32_t layer)
    : layer_(layer),
      step_(static_cast<std::uint32_t>(step)),
      key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)} {}

std::uint64_t DrawNumbers::of_routing(std::int64_t token, std::size_t draw) {
  if (token_ != token || pair_ != draw / 2) {
    const auto words = philox({static_cast<std::uint32_t>(token), layer_, step_,
                               last_word(token, draw / 2, Stream::kRouting)},
                              {key_[0], key_[1]});
    std::copy(words.begin(), words.end(), words_);
    token_ = token;
    pair_ = draw / 2;
  }
  return draw % 2 == 0 ? joined(words_[0], words_[1]) : joined(words_[2], words_[3]);
}

std::uint64_t DrawNumbers::of_coin(std::int64_t token, std::size_t draw) const {
  const auto words = philox(
      {static_cast<std::uint32_t>(token), layer_, step_, last_word(token, draw, Stream::kCoin)},
      {key_[0], key_[1]});
  return joined(words[0], words[1]);
}

std::uint64_t DrawNumbers::of_layer(std::uint32_t index) const {
  const auto words = philox({index, layer_, step_, static_cast<std::uint32_t>(Stream::kWorkload)},
                            {key_[0], key_[1]});
  return joined(words[0], words[1]);
}
}  // namespace switchyard::experts
