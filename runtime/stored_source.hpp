// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights as they are stored, for a reference that computes in float64.
#include <vector>

#include "experts/ffn.hpp"
#include "experts/weights.hpp"

namespace switchyard::runtime {

/// Another source's weights, rounded to the type that experts and always-on networks are stored in.
class StoredSource final : public experts::WeightSource {
 public:
  /// @param source  must outlive it
  StoredSource(experts::WeightSource& source, experts::DType stored)
      : source_(source), stored_(stored) {}
  [[nodiscard]] experts::RouterTensors router() override { return source_.router(); }
  [[nodiscard]] experts::ExpertTensors expert(std::int64_t logical) override {
    return rounded(source_.expert(logical));
  }
  [[nodiscard]] experts::ExpertTensors shared() override { return rounded(source_.shared()); }
  [[nodiscard]] experts::WeightView shared_gate() override { return source_.shared_gate(); }
  [[nodiscard]] experts::ExpertTensors dense() override { return rounded(source_.dense()); }
  [[nodiscard]] std::vector<float> output_bias() override { return source_.output_bias(); }

 private:
  [[nodiscard]] experts::ExpertTensors rounded(experts::ExpertTensors tensors) const;
  experts::WeightSource& source_;
  experts::DType stored_;
};
}  // namespace switchyard::runtime
