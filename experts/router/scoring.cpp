// SPDX-License-Identifier: Apache-2.0
#include "experts/router/scoring.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "experts/kernels/math.hpp"

namespace switchyard::experts {
namespace {

constexpr double kLeast = -std::numeric_limits<double>::infinity();

bool hidden(double logit) {
  return std::isinf(logit);
}

// By four chains: the largest is the same in any order.
double largest_of(std::span<const double> values) {
  std::array<double, 4> best{kLeast, kLeast, kLeast, kLeast};
  std::size_t e = 0;
  for (; e + 4 <= values.size(); e += 4) {
    for (std::size_t i = 0; i < 4; ++i) best[i] = std::max(best[i], values[e + i]);
  }
  for (; e < values.size(); ++e) best[0] = std::max(best[0], values[e]);
  return std::ranges::max(best);
}

// A transform may leave float32's range; it must not turn an expert into a hidden one.
float round_finite(double value) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLargest, kLargest));
}
}  // namespace

void standardise(std::span<double> logits, double factor) {
  double seen = 0;
  double total = 0;
  for (const double z : logits) {
    if (hidden(z)) continue;
    seen += 1;
    total += z;
  }
  const double mean = total / seen;
  double squares = 0;
  for (const double z : logits) squares += hidden(z) ? 0 : (z - mean) * (z - mean);
  const double deviation = seen > 1 ? std::sqrt(squares / (seen - 1)) : 0;
  for (double& z : logits) {
    if (!hidden(z)) z = deviation > 0 ? (z - mean) / deviation * factor : 0;
  }
}

void cap_by_tanh(std::span<double> logits, double limit) {
  for (double& z : logits) {
    if (!hidden(z)) z = limit * portable::tanh(z / limit);
  }
}

void transform_logits(const RouterSpec& spec, std::span<const float> logits,
                      std::span<double> transformed) {
  std::copy(logits.begin(), logits.end(), transformed.begin());
  switch (spec.transform) {
    case LogitTransform::kNone:
      return;
    case LogitTransform::kStandardise:
      return standardise(transformed, double{spec.transform_value});
    case LogitTransform::kTanhCap:
      return cap_by_tanh(transformed, double{spec.transform_value});
  }
}

void softmax_scores(std::span<const double> transformed, portable::ExpEach exp_each,
                    std::span<double> work, std::span<float> scores) {
  const double largest = largest_of(transformed);
  const double base = hidden(largest) ? 0 : largest;  // -inf - base is hidden still
  for (std::size_t e = 0; e < work.size(); ++e) work[e] = transformed[e] - base;
  exp_each(work.data(), static_cast<std::int64_t>(work.size()));
  double total = 0;
  for (const double share : work) total += share;
  const double divisor = total > 0 ? total : 1;
  for (std::size_t e = 0; e < scores.size(); ++e) scores[e] = static_cast<float>(work[e] / divisor);
}

void sigmoid_scores(std::span<const double> transformed, portable::ExpEach exp_each,
                    std::span<double> work, std::span<float> scores) {
  for (std::size_t e = 0; e < work.size(); ++e) work[e] = -std::abs(transformed[e]);
  exp_each(work.data(), static_cast<std::int64_t>(work.size()));
  for (std::size_t e = 0; e < scores.size(); ++e) {
    const double share = (transformed[e] >= 0 ? 1 : work[e]) / (1 + work[e]);
    scores[e] = hidden(transformed[e]) ? 0.0F : static_cast<float>(share);
  }
}

void plain_scores(std::span<const double> transformed, std::span<float> scores) {
  for (std::size_t e = 0; e < scores.size(); ++e) {
    scores[e] = hidden(transformed[e]) ? -std::numeric_limits<float>::infinity()
                                       : round_finite(transformed[e]);
  }
}

void score_logits(const RouterSpec& spec, std::span<const double> transformed,
                  portable::ExpEach exp_each, std::span<double> work, std::span<float> scores) {
  if (spec.choice == Choice::kSparseMixer) {
    return softmax_scores(transformed, exp_each, work, scores);
  }
  switch (spec.scoring) {
    case Scoring::kNone:
      return plain_scores(transformed, scores);
    case Scoring::kSoftmax:
      return softmax_scores(transformed, exp_each, work, scores);
    case Scoring::kSigmoid:
      return sigmoid_scores(transformed, exp_each, work, scores);
  }
}
}  // namespace switchyard::experts
