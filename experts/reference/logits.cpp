// SPDX-License-Identifier: Apache-2.0
#include "experts/reference/running.hpp"

namespace switchyard::experts::reference {
namespace {
void check(const RouterSpec& spec, const RouterTensors& tensors, MatrixView<const float> tokens) {
  const std::int64_t experts = spec.all_experts();
  if (tokens.cols != spec.hidden) {
    refuse("tokens have " + std::to_string(tokens.cols) + " elements, want " +
           std::to_string(spec.hidden));
  }
  require_shape("router weight", tensors.weight, experts, spec.hidden);
  require_length("router bias", tensors.bias, experts);
  if (spec.logits == Logits::kMlpTanh) {
    require_shape("router second weight", tensors.second, experts, experts);
  }
  if (spec.logits == Logits::kAttention) {
    require_shape("router key", tensors.second, experts, spec.hidden);
    require_shape("router value", tensors.third, experts, spec.hidden);
  }
}

/// z_i = sum_j softmax_j(q_i k_j) v_j + bias_i.
Row attend(const Row& q, const Row& k, const Row& v, const std::vector<float>& bias) {
  Row z;
  for (std::size_t i = 0; i < q.size(); ++i) {
    Row affinities;
    for (const Running& key : k) affinities.push_back(rounded(product(q[i], key)));
    const Row p = softmax(affinities);
    Sum sum;
    for (std::size_t j = 0; j < v.size(); ++j) sum.add(product(p[j], v[j]));
    if (!bias.empty()) sum.add({static_cast<double>(bias[i]), 0});
    z.push_back(sum.total());
  }
  return z;
}
}  // namespace

Bounded logits(const RouterSpec& spec, const RouterTensors& tensors,
               MatrixView<const float> tokens) {
  check(spec, tensors, tokens);
  std::vector<Row> rows;
  for (std::int64_t t = 0; t < tokens.rows; ++t) {
    const Row x = exact(tokens.row(t));
    switch (spec.logits) {
      case Logits::kLinear:
        rows.push_back(apply(tensors.weight, tensors.bias, x));
        break;
      case Logits::kMlpTanh: {
        Row between = apply(tensors.weight, {}, x);
        for (Running& number : between) number = hyperbolic_tangent(number);
        rows.push_back(apply(tensors.second, tensors.bias, between));
        break;
      }
      case Logits::kAttention:
        rows.push_back(attend(apply(tensors.weight, {}, x), apply(tensors.second, {}, x),
                              apply(tensors.third, {}, x), tensors.bias));
        break;
    }
  }
  return bounded(rows, spec.all_experts());
}
}  // namespace switchyard::experts::reference
