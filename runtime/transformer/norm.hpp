// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// RMS norm and layer norm, a row at a time. Sums run in float64 over eight interleaved parts in a
/// fixed order, so a row's bits depend on that row alone.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experts/tensor.hpp"
#include "runtime/model/model.hpp"
#include "runtime/transformer/tensor_source.hpp"

namespace switchyard::runtime {

enum class NormKind { kRms, kLayer };

class Norm {
 public:
  Norm() = default;
  /// kRms:   x / sqrt(mean(x^2) + eps) * weight
  /// kLayer: (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias
  /// @param weight  [width], or empty: all ones, and any width
  /// @param bias    [width] or empty
  Norm(NormKind kind, std::vector<float> weight, std::vector<float> bias, double eps);
  /// RMS whatever the model's kind (queries and keys, latents).
  /// @param name  full, with its suffix
  [[nodiscard]] static Norm rms(TensorSource& tensors, const std::string& name, std::int64_t width,
                                double eps);
  /// Of the model's kind, over hidden_size elements and with its rms_norm_eps.
  /// @param name  without the suffix: "model.layers.0.input_layernorm"
  [[nodiscard]] static Norm of_model(const Model& model, TensorSource& tensors,
                                     const std::string& name);

  /// @param y  may be x
  void apply(std::span<const float> x, std::span<float> y) const;
  void apply(experts::MatrixView<const float> x, experts::MatrixView<float> y) const;

  [[nodiscard]] bool empty() const { return eps_ < 0; }  ///< made by default
  [[nodiscard]] std::int64_t bytes() const {
    return static_cast<std::int64_t>(sizeof(float) * (weight_.size() + bias_.size()));
  }

 private:
  NormKind kind_ = NormKind::kRms;
  std::vector<float> weight_;
  std::vector<float> bias_;
  double eps_ = -1;
};
}  // namespace switchyard::runtime
