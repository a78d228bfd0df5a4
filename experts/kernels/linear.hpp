// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// y = W x for any number of rows, where the bits of a row depend on that row and W alone.
#include <cstdint>
#include <span>

#include "experts/kernels/aligned.hpp"
#include "experts/kernels/isa.hpp"
#include "experts/tensor.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// W [out, in] packed into panels of columns (see experts/README.md), float32.
class PackedLinear {
 public:
  PackedLinear() = default;
  PackedLinear(const WeightView& weight, Isa isa);

  /// y[r][o] = sum over i, in order, of fma(W[o][i], x[r][i]).
  /// @param x  [rows, in]
  /// @param y  [rows, out]
  /// @param scratch  grown as needed and reused
  void apply(MatrixView<const float> x, MatrixView<float> y, AlignedBuffer& scratch) const;
  void apply(MatrixView<const float> x, MatrixView<float> y) const;

  [[nodiscard]] std::int64_t in() const { return in_; }
  [[nodiscard]] std::int64_t out() const { return out_; }
  [[nodiscard]] bool empty() const { return out_ == 0; }

 private:
  std::int64_t in_ = 0;
  std::int64_t out_ = 0;
  Isa isa_ = Isa::kPortable;
  AlignedBuffer panels_;
};
}  // namespace switchyard::experts
