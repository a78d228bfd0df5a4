// SPDX-License-Identifier: Apache-2.0
#include "experts/router/weighting.hpp"

#include <algorithm>
#include <cmath>

#include "experts/kernels/math.hpp"

namespace switchyard::experts {
namespace {

double sum(std::span<const double> weights) {
  double total = 0;
  for (const double w : weights) total += w;
  return total;
}

double power(double base, double exponent) {
  return base > 0 ? portable::exp(exponent * portable::log(base)) : 0;
}

void divide(std::span<double> weights, double divisor) {
  for (double& w : weights) w = divisor == 0 ? 0 : w / divisor;
}
}  // namespace

void weights_from_scores(std::span<const float> scores, std::span<const std::int32_t> chosen,
                         std::span<double> weights) {
  for (std::size_t s = 0; s < chosen.size(); ++s) {
    weights[s] = scores[static_cast<std::size_t>(chosen[s])];
  }
}

void weights_from_logits(std::span<const double> transformed, std::span<const std::int32_t> chosen,
                         std::span<double> weights) {
  for (std::size_t s = 0; s < chosen.size(); ++s) {
    weights[s] = transformed[static_cast<std::size_t>(chosen[s])];
  }
  const double largest = *std::ranges::max_element(weights);
  for (double& w : weights) w = portable::exp(w - largest);
  divide(weights, sum(weights));
}

double p_norm(std::span<const double> weights, double p) {
  double largest = 0;
  for (const double w : weights) largest = std::max(largest, std::abs(w));
  if (largest == 0) return 0;
  double total = 0;
  if (p == 1) {
    for (const double w : weights) total += std::abs(w);
    return total;
  }
  if (p == 2) {
    for (const double w : weights) total += w * w;
    return std::sqrt(total);
  }
  for (const double w : weights) total += power(std::abs(w) / largest, p);
  return largest * power(total, 1 / p);
}

void normalise(const RouterSpec& spec, std::span<double> weights) {
  switch (spec.normalize) {
    case Normalize::kNone:
      return;
    case Normalize::kSum:
      return divide(weights, sum(weights) + double{spec.norm_eps});
    case Normalize::kClampedSum:
      return divide(weights, std::max(sum(weights), double{spec.norm_eps}));
    case Normalize::kPNorm:
      return divide(weights, p_norm(weights, double{spec.norm_p}));
  }
}

void scale_weights(const RouterSpec& spec, std::span<const double> weights, std::span<float> out) {
  for (std::size_t s = 0; s < out.size(); ++s) {
    out[s] = static_cast<float>(weights[s] * double{spec.scale});
  }
}
}  // namespace switchyard::experts
