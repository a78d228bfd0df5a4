// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Numbers of the oracle: a float64 value with the distance that an honest float32 one may keep.
/// Private to experts/reference. An honest float32 computation rounds every intermediate result to
/// nearest (error up to u = 2^-24 of it), adds in any order, and evaluates its activations to 4
/// ulp.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experts/reference.hpp"

namespace switchyard::experts::reference {

inline constexpr double kUnit = 0x1p-24;  ///< u, the largest relative error of one rounding
/// Absolute error of one operation near the end of float32's range: flushed subnormals, and an
/// exponential that overflows or is clamped (silu(-89) is -2e-37 and may come out as 0).
inline constexpr double kTiny = 1e-36;

struct Running {
  double value = 0;
  double bound = 0;  ///< a float32 computation is within value - bound and value + bound

  /// The largest magnitude it can have.
  [[nodiscard]] double size() const;
};
using Row = std::vector<Running>;

/// The largest error of rounding a number of at most this size to float32: half an ulp, u times the
/// power of two below it.
[[nodiscard]] double half_ulp(double size);
/// The same, relative, of n roundings in a row: (1 + u)^n - 1 <= n u / (1 - n u).
[[nodiscard]] double roundings(std::int64_t n);

/// a * b, before its own rounding.
[[nodiscard]] Running product(Running a, Running b);
/// The same value after one more rounding.
[[nodiscard]] Running rounded(Running a);

/// A sum of n terms, each of them exact or a product that was not rounded yet, in any order.
/// Whatever the order, every partial sum is one of a subset of the terms: it is no larger than the
/// sum of all positive or of all negative ones. So the n - 1 additions err by u times that, and the
/// n products by u of themselves.
class Sum {
 public:
  void add(Running term);
  [[nodiscard]] Running total() const;

 private:
  double value_ = 0;
  double bounds_ = 0;
  double roundings_ = 0;
  double positive_ = 0;
  double negative_ = 0;
  std::int64_t terms_ = 0;
};

/// Exact inputs.
[[nodiscard]] Row exact(std::span<const float> values);

/// W x + bias. @param bias  empty: none
[[nodiscard]] Row apply(const WeightView& weight, const std::vector<float>& bias, const Row& x);

/// Logistic sigmoid, tanh; softmax over a row.
[[nodiscard]] Running sigmoid(Running z);
[[nodiscard]] Running hyperbolic_tangent(Running z);
[[nodiscard]] Row softmax(const Row& z);

/// act(z) of every activation that has one argument.
/// @throws std::invalid_argument  kClampedSwiglu, which has two
[[nodiscard]] Running activate(Activation activation, Running z);
/// (l + 1) * g * sigmoid(alpha * g) with g = min(gate, limit), l = clamp(up, -limit, limit).
[[nodiscard]] Running clamped_swiglu(const ExpertSpec& spec, Running gate, Running up);

/// v / sqrt(mean(v^2) + 1e-6), without a weight.
[[nodiscard]] Row rms_norm(const Row& v);

/// Rows of running numbers as the public type; the bounds grow by 1 % for all second order terms.
[[nodiscard]] Bounded bounded(const std::vector<Row>& rows, std::int64_t cols);

/// @throws std::invalid_argument  "reference: up is [5, 7], want [8, 7]"
void require_shape(const std::string& name, const WeightView& weight, std::int64_t out,
                   std::int64_t in);
/// A vector that may be empty. @throws std::invalid_argument  "reference: bias has 5 elements, ..."
void require_length(const std::string& name, const std::vector<float>& values, std::int64_t length);
/// Throws std::invalid_argument: "reference: " and the problem.
[[noreturn]] void refuse(const std::string& problem);
}  // namespace switchyard::experts::reference
