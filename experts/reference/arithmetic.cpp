// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "experts/reference/routes.hpp"

namespace switchyard::experts::reference {
namespace {
constexpr double kMost = 1e15;  // more rows than anybody has, and fits 64 bits

double as_written(double product) {
  if (product > kMost) return kMost;
  const double nearest = std::round(2 * product) / 2;
  return std::abs(product - nearest) <= 1e-9 * std::abs(product) ? nearest : product;
}
}  // namespace

std::int64_t round_up(double product) {
  return static_cast<std::int64_t>(std::ceil(as_written(product)));
}

std::int64_t round_down(double product) {
  return static_cast<std::int64_t>(std::floor(as_written(product)));
}

std::int64_t round_half_even(double product) {
  const double written = as_written(product);
  const double below = std::floor(written);
  const double rest = written - below;
  const auto whole = static_cast<std::int64_t>(below);
  if (rest == 0.5) return whole + whole % 2;
  return rest > 0.5 ? whole + 1 : whole;
}

std::vector<TokenGroup> token_groups(const RouterSpec& spec, std::int64_t tokens) {
  const std::int64_t size = spec.capacity.group_tokens > 0 ? spec.capacity.group_tokens : tokens;
  std::vector<TokenGroup> groups;
  for (std::int64_t first = 0; first < tokens; first += size) {
    groups.push_back(
        {static_cast<std::int64_t>(groups.size()), first, std::min(first + size, tokens)});
  }
  return groups;
}

bool is_visible(float logit) {
  return logit > -std::numeric_limits<float>::infinity();
}

std::vector<float> finish(const RouterSpec& spec, const std::vector<double>& weights) {
  const double eps = static_cast<double>(spec.norm_eps);
  const double p = static_cast<double>(spec.norm_p);
  double sum = 0;
  double powers = 0;
  for (const double weight : weights) {
    sum += weight;
    powers += std::pow(std::abs(weight), p);
  }
  double divisor = 1;
  if (spec.normalize == Normalize::kSum) divisor = sum + eps;
  if (spec.normalize == Normalize::kClampedSum) divisor = std::max(sum, eps);
  if (spec.normalize == Normalize::kPNorm) divisor = std::pow(powers, 1 / p);
  std::vector<float> finished;
  for (const double weight : weights) {
    const double share =
        divisor == 0 ? 0 : weight / divisor;  // every score was 0: 0 / 0 is nothing
    finished.push_back(static_cast<float>(share * static_cast<double>(spec.scale)));
  }
  return finished;
}

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32U) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32U) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}
}  // namespace switchyard::experts::reference
