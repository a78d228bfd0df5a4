// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What every token gets, whatever the router says: shared experts, a dense branch, a bias. Held
/// and computed by every rank for its own tokens.
#include <vector>

#include "experts/ffn.hpp"
#include "experts/kernels/linear.hpp"
#include "experts/tensor.hpp"
#include "runtime/layer/workers.hpp"

namespace switchyard::runtime {

class AlwaysOn {
 public:
  AlwaysOn(const experts::BlockSpec& spec, experts::WeightSource& source, experts::DType stored,
           experts::Isa isa);

  [[nodiscard]] bool empty() const {
    return shared_.empty() && dense_.empty() && output_bias_.empty();
  }

  /// out += shared (times its gate) + bias + dense, in this order.
  /// @param tokens  [tokens, hidden]
  /// @param out     [tokens, hidden]; holds the sum over slots
  void add(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
           Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const;

  [[nodiscard]] std::int64_t bytes() const;

 private:
  void add_shared(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                  Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const;
  void add_dense(experts::MatrixView<const float> tokens, experts::MatrixView<float> out,
                 Workers& workers, std::vector<experts::AlignedBuffer>& scratch) const;

  std::vector<experts::PackedExpert> shared_;  ///< none or one
  experts::PackedLinear shared_gate_;
  std::vector<experts::PackedExpert> dense_;  ///< none or one
  experts::DenseMode dense_mode_ = experts::DenseMode::kNone;
  std::vector<float> output_bias_;
};

/// y[t] = (a[t] + b[t]) / sqrt(mean((a[t] + b[t])^2) + 1e-6), sums in float64 in order: the norm
/// between stacked blocks (no weight). b may be empty.
void rms_norm_sum(experts::MatrixView<const float> a, experts::MatrixView<const float> b,
                  experts::MatrixView<float> y);
}  // namespace switchyard::runtime
