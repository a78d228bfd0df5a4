// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights, routings, specs and matrices that a test writes down itself.
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "experts/router/routing.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts::given {

/// A weight matrix [out, in] of its own, stored in either type.
struct Stored {
  std::int64_t out = 0;
  std::int64_t in = 0;
  DType type = DType::kFloat32;
  std::vector<float> values;
  std::vector<std::uint16_t> narrow;

  [[nodiscard]] WeightView view() const {
    if (values.empty()) return {};
    const bool wide = type == DType::kFloat32;
    const void* data = wide ? static_cast<const void*>(values.data()) : narrow.data();
    return {data, type, out, in, in, 1};
  }
};

struct Network {
  ExpertSpec spec;
  Stored gate, up, linear, down;
  std::vector<float> gate_bias, up_bias, down_bias;

  [[nodiscard]] ExpertTensors tensors() const {
    return {gate.view(), up.view(), linear.view(), down.view(), gate_bias, up_bias, down_bias, {}};
  }
};

/// Weights that a test holds in its hands.
class Given final : public WeightSource {
 public:
  std::vector<Network> experts;
  Network shared_network, dense_network;
  Stored gate_of_shared;
  std::vector<float> bias;

  RouterTensors router() override { return {}; }
  ExpertTensors expert(std::int64_t e) override {
    return experts[static_cast<std::size_t>(e)].tensors();
  }
  ExpertTensors shared() override { return shared_network.tensors(); }
  WeightView shared_gate() override { return gate_of_shared.view(); }
  ExpertTensors dense() override { return dense_network.tensors(); }
  std::vector<float> output_bias() override { return bias; }
};

inline Stored stored(std::int64_t out, std::int64_t in, std::vector<float> values,
                     DType type = DType::kFloat32) {
  Stored matrix{out, in, type, std::move(values), {}};
  for (const float value : matrix.values) matrix.narrow.push_back(narrow_bfloat16(value));
  return matrix;
}

/// The same slots for every token.
inline Routing routing_of(std::int64_t tokens, const std::vector<std::int32_t>& experts,
                          const std::vector<float>& weights) {
  Routing routing;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (const std::int32_t expert : experts) routing.experts.push_back(expert);
    for (const float weight : weights) routing.weights.push_back(weight);
    routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
  }
  return routing;
}

inline BlockSpec block_of(std::int64_t experts, const ExpertSpec& expert) {
  BlockSpec spec;
  spec.router.experts = experts;
  spec.router.hidden = expert.hidden;
  spec.expert = expert;
  return spec;
}

inline Matrix matrix_of(const std::vector<std::vector<float>>& rows) {
  Matrix matrix(static_cast<std::int64_t>(rows.size()),
                rows.empty() ? 0 : static_cast<std::int64_t>(rows[0].size()));
  float* next = matrix.data();
  for (const std::vector<float>& row : rows) next = std::copy(row.begin(), row.end(), next);
  return matrix;
}
}  // namespace switchyard::experts::given
