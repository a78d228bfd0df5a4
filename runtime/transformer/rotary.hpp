// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Positions as turns: pairs of a head's elements are rotated by position times a frequency.
/// Angles, sines and cosines are computed in float64 without libm and rounded once.
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model/model.hpp"

namespace switchyard::runtime {

/// sin and cos of x within 2e-16 for |x| < 2^28, the same bits on every machine.
struct SinCos {
  double sin = 0;
  double cos = 0;
};
[[nodiscard]] SinCos sin_cos(double x);

/// The frequencies of a model: theta^(-2 i / dim), scaled as the model says.
class Rotary {
 public:
  Rotary() = default;  ///< turns nothing
  /// @param head_dim  elements of a head that may be turned; the model's rotary_dim, where given,
  ///                  says how many of them are
  /// @throws std::invalid_argument  naming the field that is missing or odd
  Rotary(const Model& model, std::int64_t head_dim);
  /// Of a sparse indexer's heads: the same frequencies on qk_rope_head_dim elements, in the pairs
  /// that index_rope says.
  [[nodiscard]] static Rotary of_indexer(const Model& model);

  [[nodiscard]] std::int64_t dim() const { return 2 * pairs(); }  ///< elements that are turned
  [[nodiscard]] std::int64_t pairs() const {
    return static_cast<std::int64_t>(frequencies_.empty() ? 0 : frequencies_.front().size());
  }
  /// Sets of frequencies. Two: longrope has one for contexts up to rope_original_context and one
  /// for longer ones. The context of a query is what it can see, so query and keys use the set of
  /// the query's position, and a row's bits do not depend on what comes after it.
  [[nodiscard]] std::int64_t sets() const { return static_cast<std::int64_t>(frequencies_.size()); }
  [[nodiscard]] std::int64_t set_of(std::int64_t position) const {
    return sets() == 2 && position >= original_context_ ? 1 : 0;
  }
  /// Cosines and sines of one position, times the attention factor.
  /// @param cos, sin  [pairs()]
  void angles(std::int64_t position, std::int64_t set, std::span<float> cos,
              std::span<float> sin) const;
  /// Turns the first dim() elements of one head, in place; leaves the others.
  void turn(std::span<const float> cos, std::span<const float> sin, float* head) const;

  [[nodiscard]] std::span<const double> frequencies(std::int64_t set = 0) const {
    return frequencies_[static_cast<std::size_t>(set)];
  }
  /// What cosines and sines are multiplied by.
  [[nodiscard]] double attention_factor(std::int64_t set = 0) const {
    return set == 0 ? factor_ : long_factor_;
  }

 private:
  bool interleaved_ = false;
  double factor_ = 1;
  double long_factor_ = 1;  ///< of set 1
  std::int64_t original_context_ = 0;
  std::vector<std::vector<double>> frequencies_;  ///< [sets][pairs]
};

/// The turn of one position, for heads of keys that have one set of frequencies.
class Turn {
 public:
  /// @throws std::invalid_argument  the model has two sets (longrope)
  explicit Turn(const Rotary& rotary);
  void to(std::int64_t position);
  /// The first elements of one head, in place; nothing where the model has no positions.
  void apply(float* head) const;

 private:
  const Rotary& rotary_;
  std::vector<float> cos_;
  std::vector<float> sin_;
};

/// What q k is multiplied by: attention_scale or 1 / sqrt(dim), times m(yarn_mscale_all_dim)^2
/// where YaRN says so (DeepSeek).
[[nodiscard]] double score_scale(const Model& model, std::int64_t dim);
}  // namespace switchyard::runtime
