// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a bench holds its results against before it times them: the float64 reference, fed with the
/// weights as they are stored.
#include <span>

#include "experts/ffn.hpp"
#include "experts/weights.hpp"

namespace switchyard::runtime::bench {

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

/// Root mean square of the difference over that of what is wanted; infinite if anything is not
/// finite.
[[nodiscard]] double error_of_rms(std::span<const double> want, std::span<const float> got);

/// The most that error_of_rms may be. float32 products of `depth` terms in one chain err by less
/// than u sqrt(depth) of rms (u = 2^-24, random signs), three of them in a row and a sum of slots:
/// eight times that. Rounded activations (bfloat16: 2^-9 each, int8: 1/254 of the largest of a
/// group) come to 3.2e-3 and 6.3e-3 for experts of presets: 1.5e-2. With fewer than 32 inputs or
/// outputs one row can be further off by chance.
[[nodiscard]] double error_limit(bool float32_products, std::int64_t depth);
}  // namespace switchyard::runtime::bench
