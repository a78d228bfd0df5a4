// SPDX-License-Identifier: Apache-2.0
// Functions of running numbers. Each bound has two parts: how far the argument's error reaches, and
// the function's own error of 4 ulp.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "experts/reference/running.hpp"

namespace switchyard::experts::reference {
namespace {
constexpr double kNormEpsilon = 1e-6;  // inside the root of the norm

/// The error of a value of at most this size that is computed to 4 ulp.
double four_ulp(double size) {
  return 8 * half_ulp(size) + kTiny;
}

/// A function at one argument.
struct Point {
  double value = 0;
  double slope = 0;
};

/// f(z), evaluated to 4 ulp, of a function with |f'| <= `steepest` everywhere and |f''| <= 2
/// `bend`: an error d of the argument reaches no further than d (|f'(z)| + bend d).
Running smooth(Point at, double steepest, double bend, Running z) {
  const double reach = z.bound * std::min(steepest, std::abs(at.slope) + bend * z.bound);
  return {at.value, reach + four_ulp(std::abs(at.value) + reach)};
}

double logistic(double z) {
  return 1 / (1 + std::exp(-z));
}

/// z sigmoid(alpha z).
Point swish(double z, double alpha) {
  const double s = logistic(alpha * z);
  return {z * s, s + alpha * z * s * (1 - s)};
}

Point gelu_erf(double z) {
  const double half = 0.5 * (1 + std::erf(z / std::numbers::sqrt2));
  const double density = std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi);
  return {z * half, half + z * density};
}

Point gelu_tanh(double z) {
  const double factor = std::sqrt(2 / std::numbers::pi);
  const double t = std::tanh(factor * (z + 0.044715 * z * z * z));
  const double inner_slope = factor * (1 + 3 * 0.044715 * z * z);
  return {0.5 * z * (1 + t), 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * inner_slope};
}

/// min(z, high) and max(z, low) never widen an error, and leave none where they surely hold.
Running clamp(Running z, double low, double high) {
  const bool surely = z.value - z.bound >= high || z.value + z.bound <= low;
  return {std::clamp(z.value, low, high), surely ? 0 : z.bound};
}
}  // namespace

Running sigmoid(Running z) {
  const double s = logistic(z.value);
  return smooth({s, s * (1 - s)}, 0.25, 1, z);
}

Running hyperbolic_tangent(Running z) {
  const double t = std::tanh(z.value);
  return smooth({t, 1 - t * t}, 1, 1, z);
}

Row softmax(const Row& z) {
  double largest = z[0].value;
  double smallest = z[0].value;
  double error = 0;
  for (const Running& number : z) {
    largest = std::max(largest, number.value);
    smallest = std::min(smallest, number.value);
    error = std::max(error, number.bound);
  }
  double sum = 0;
  for (const Running& number : z) sum += std::exp(number.value - largest);

  // Logits that are off by d each, here by their own error and by the rounding of z - largest, move
  // the logarithm of a probability by 2 d. The rest: two exponentials of 4 ulp, sum, quotient.
  const double shift = error + kUnit * (largest - smallest + 2 * error);
  const double relative =
      std::expm1(2 * shift) + roundings(17 + static_cast<std::int64_t>(z.size()));
  Row p;
  for (const Running& number : z) {
    const double value = std::exp(number.value - largest) / sum;
    p.push_back({value, value * relative + kTiny});
  }
  return p;
}

Running activate(Activation activation, Running z) {
  switch (activation) {
    case Activation::kSilu:
      return smooth(swish(z.value, 1), 1.1, 1, z);
    case Activation::kGeluErf:
    case Activation::kGeluTanh: {
      const bool is_erf = activation == Activation::kGeluErf;
      Running y = smooth(is_erf ? gelu_erf(z.value) : gelu_tanh(z.value), 1.13, 1, z);
      // 1 + erf and 1 + tanh cancel for negative arguments: float32 then has errors of |z| u,
      // whatever little is left of the value.
      y.bound += 4 * kUnit * z.size();
      return y;
    }
    case Activation::kRelu:
      return clamp(z, 0, std::numeric_limits<double>::infinity());
    case Activation::kClampedSwiglu:
      break;
  }
  refuse("clamped swiglu of one argument, want a gated unit");
}

Running clamped_swiglu(const ExpertSpec& spec, Running gate, Running up) {
  const double limit = static_cast<double>(spec.swiglu_limit);
  const double alpha = static_cast<double>(spec.swiglu_alpha);
  const Running g = clamp(gate, -std::numeric_limits<double>::infinity(), limit);
  const Running l = clamp(up, -limit, limit);

  // g sigmoid(alpha g) = silu(alpha g) / alpha has the slope of silu. The rounding of t = alpha g
  // moves sigmoid by |t| sigmoid'(t) u < u / 4, and the product with g rounds once.
  Running gated = smooth(swish(g.value, alpha), 1.1, std::max(1.0, std::abs(alpha)), g);
  gated.bound += 0.25 * kUnit * g.size();
  return rounded(product(rounded(gated), rounded({l.value + 1, l.bound})));
}

Row rms_norm(const Row& v) {
  const double n = static_cast<double>(v.size());
  Sum squares;
  for (const Running& number : v) squares.add(product(number, number));
  const Running sum = squares.total();

  // The quotient by n, and the sum with an epsilon that is rounded itself: three roundings.
  Running mean{sum.value / n + kNormEpsilon, sum.bound / n};
  mean.bound += 3 * half_ulp(mean.size()) + kTiny;
  const double least = std::max(mean.value - mean.bound, kNormEpsilon * (1 - roundings(3)));
  Running scale{1 / std::sqrt(mean.value), 1 / std::sqrt(least) - 1 / std::sqrt(mean.value)};
  scale.bound += four_ulp(scale.size());

  Row normed;
  for (const Running& number : v) normed.push_back(rounded(product(number, scale)));
  return normed;
}
}  // namespace switchyard::experts::reference
