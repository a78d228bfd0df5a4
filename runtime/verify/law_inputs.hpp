// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Weights and tokens of a law case.
#include "experts/synthetic.hpp"
#include "runtime/verify/law_case.hpp"

namespace switchyard::runtime {

/// Synthetic weights, with the case's hidden experts (logit -inf) among the router's biases.
class LawSource final : public experts::WeightSource {
 public:
  explicit LawSource(const LawCase& law);
  [[nodiscard]] experts::RouterTensors router() override;
  [[nodiscard]] experts::ExpertTensors expert(std::int64_t logical) override {
    return inner_.expert(logical);
  }
  [[nodiscard]] experts::ExpertTensors shared() override { return inner_.shared(); }
  [[nodiscard]] experts::WeightView shared_gate() override { return inner_.shared_gate(); }
  [[nodiscard]] experts::ExpertTensors dense() override { return inner_.dense(); }
  [[nodiscard]] std::vector<float> output_bias() override { return inner_.output_bias(); }

 private:
  experts::SyntheticSource inner_;
  std::int64_t hidden_experts_;
  std::int64_t all_experts_;
};

/// Rows [first, first + count) of the global batch.
[[nodiscard]] experts::Matrix law_tokens(const LawCase& law, std::int64_t first,
                                         std::int64_t count);
}  // namespace switchyard::runtime
