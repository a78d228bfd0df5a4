// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the router's tests share: logits from rows of numbers, routers without products.
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <initializer_list>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "experts/router/router.hpp"

namespace switchyard::experts::test {

inline constexpr float kHidden = -std::numeric_limits<float>::infinity();

/// Weights and scores by hand are good to this.
inline auto near(double value) {
  return testing::FloatNear(static_cast<float>(value), 1e-6F);
}

using Rows = std::vector<std::vector<float>>;

inline Matrix matrix(const Rows& rows) {
  Matrix m(static_cast<std::int64_t>(rows.size()),
           rows.empty() ? 0 : static_cast<std::int64_t>(rows[0].size()));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::copy(rows[r].begin(), rows[r].end(), m.row(static_cast<std::int64_t>(r)).begin());
  }
  return m;
}

/// Logits whose softmax is the given rows (each of sum 1; 0 hides the expert).
inline Matrix logits_of(const Rows& probabilities) {
  Matrix m = matrix(probabilities);
  for (std::int64_t i = 0; i < m.rows() * m.cols(); ++i) m.data()[i] = std::log(m.data()[i]);
  return m;
}

/// Normal logits, the same on every run.
inline Matrix random_logits(std::int64_t tokens, std::int64_t experts, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Matrix m(tokens, experts);
  for (std::int64_t i = 0; i < tokens * experts; ++i) m.data()[i] = normal(engine);
  return m;
}

inline RouterSpec softmax_top(std::int64_t experts, std::int64_t top_k) {
  RouterSpec spec;
  spec.hidden = 1;
  spec.experts = experts;
  spec.top_k = top_k;
  return spec;
}

/// A router of these rules whose weights are all 0: for route_logits.
inline Router router_of(const RouterSpec& spec, std::vector<float> selection_bias = {}) {
  const std::vector<float> zeros(static_cast<std::size_t>(spec.all_experts() * spec.hidden));
  const WeightView weight{.data = zeros.data(),
                          .out = spec.all_experts(),
                          .in = spec.hidden,
                          .out_stride = spec.hidden};
  RouterTensors tensors;
  tensors.weight = weight;
  tensors.selection_bias = std::move(selection_bias);
  return Router(spec, tensors, Isa::kPortable);
}

/// Routes logits and applies the rule of the whole batch.
inline Routing route_all(const RouterSpec& spec, Matrix logits) {
  Routing routing = router_of(spec).route_logits(std::move(logits));
  apply_batch_rule(spec, routing);
  return routing;
}

/// The slots of one token.
inline std::vector<std::int32_t> experts_of(const Routing& routing, std::int64_t token) {
  const auto t = static_cast<std::size_t>(token);
  return {routing.experts.begin() + routing.offsets[t],
          routing.experts.begin() + routing.offsets[t + 1]};
}
inline std::vector<float> weights_of(const Routing& routing, std::int64_t token) {
  const auto t = static_cast<std::size_t>(token);
  return {routing.weights.begin() + routing.offsets[t],
          routing.weights.begin() + routing.offsets[t + 1]};
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

/// What an std::invalid_argument says; "" if none comes.
template <class Action>
std::string refusal(const Action& action) {
  try {
    action();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}
}  // namespace switchyard::experts::test
