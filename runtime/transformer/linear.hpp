// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A linear layer outside the experts: y = W x + b.
#include <cstdint>
#include <string>
#include <vector>

#include "experts/kernels/linear.hpp"
#include "runtime/transformer/tensor_source.hpp"

namespace switchyard::runtime {

class Linear {
 public:
  Linear() = default;
  /// @param bias  [weight.out] or empty
  /// @throws std::invalid_argument  a bias of another size
  Linear(const experts::WeightView& weight, std::vector<float> bias, experts::Isa isa);
  /// Reads the matrix `weight` and, unless it is "", the vector `bias`, by their full names.
  Linear(TensorSource& tensors, const std::string& weight, std::int64_t out, std::int64_t in,
         experts::Isa isa, const std::string& bias = {}, bool input_first = false)
      : Linear(tensors.matrix(weight, out, in, input_first),
               bias.empty() ? std::vector<float>{} : tensors.values(bias, out), isa) {}

  /// Bits of a row depend on that row and the weights alone: the sum over inputs in order, fused,
  /// then the bias.
  /// @param x  [rows, in()]
  /// @param y  [rows, out()]; may not overlap x
  /// @param scratch  grown as needed and reused
  void apply(experts::MatrixView<const float> x, experts::MatrixView<float> y,
             experts::AlignedBuffer& scratch) const;
  [[nodiscard]] experts::Matrix apply(experts::MatrixView<const float> x) const;

  [[nodiscard]] std::int64_t in() const { return weight_.in(); }
  [[nodiscard]] std::int64_t out() const { return weight_.out(); }
  [[nodiscard]] bool empty() const { return weight_.empty(); }
  [[nodiscard]] std::int64_t bytes() const;  ///< packed

 private:
  experts::PackedLinear weight_;
  std::vector<float> bias_;
};
}  // namespace switchyard::runtime
