// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer/norm.hpp"

#include <array>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "runtime/model/model.pb.h"
#include "runtime/model/tensor_names.hpp"

namespace switchyard::runtime {
namespace {

constexpr std::size_t kParts = 8;

/// Sum of f(x[i]); part p adds the elements p, p + 8, ..., and the parts are added in order.
template <class F>
double sum_of(std::span<const float> x, const F& f) {
  std::array<double, kParts> parts{};
  std::size_t i = 0;
  for (; i + kParts <= x.size(); i += kParts) {
    for (std::size_t p = 0; p < kParts; ++p) parts[p] += f(static_cast<double>(x[i + p]));
  }
  for (std::size_t p = 0; i + p < x.size(); ++p) parts[p] += f(static_cast<double>(x[i + p]));
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}
}  // namespace

Norm::Norm(NormKind kind, std::vector<float> weight, std::vector<float> bias, double eps)
    : kind_(kind), weight_(std::move(weight)), bias_(std::move(bias)), eps_(eps) {
  if (!(eps >= 0)) {
    throw std::invalid_argument("norm: epsilon, got " + std::to_string(eps) + ", want at least 0");
  }
}

Norm Norm::rms(TensorSource& tensors, const std::string& name, std::int64_t width, double eps) {
  return {NormKind::kRms, tensors.values(name, width), {}, eps};
}

Norm Norm::of_model(const Model& model, TensorSource& tensors, const std::string& name) {
  namespace v1 = switchyard::model::v1;
  const auto& m = model.message();
  const std::string suffix = tensor_names(m.family()).norm_weight;
  std::vector<float> weight = tensors.values(name + suffix, m.hidden_size());
  std::vector<float> bias;
  if (m.norm() == v1::Norm::layernorm_bias) bias = tensors.values(name + ".bias", m.hidden_size());
  return {m.norm() == v1::Norm::rms ? NormKind::kRms : NormKind::kLayer, std::move(weight),
          std::move(bias), m.rms_norm_eps()};
}

void Norm::apply(std::span<const float> x, std::span<float> y) const {
  if ((!weight_.empty() && weight_.size() != x.size()) || y.size() != x.size()) {
    throw std::invalid_argument("norm: row has " + std::to_string(x.size()) + " elements, want " +
                                std::to_string(weight_.empty() ? y.size() : weight_.size()));
  }
  const auto width = static_cast<double>(x.size());
  double mean = 0;
  if (kind_ == NormKind::kLayer) mean = sum_of(x, [](double v) { return v; }) / width;
  const double squares = sum_of(x, [mean](double v) { return (v - mean) * (v - mean); });
  const double scale = 1.0 / std::sqrt(squares / width + eps_);
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = static_cast<float>((static_cast<double>(x[i]) - mean) * scale);
  }
  if (!weight_.empty()) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] *= weight_[i];
  }
  if (!bias_.empty()) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] += bias_[i];
  }
}

void Norm::apply(experts::MatrixView<const float> x, experts::MatrixView<float> y) const {
  for (std::int64_t r = 0; r < x.rows; ++r) apply(x.row(r), y.row(r));
}
}  // namespace switchyard::runtime
