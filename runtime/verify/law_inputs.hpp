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

/// The same weights, rounded to what the case stores: what the reference must compute with.
class StoredSource final : public experts::WeightSource {
 public:
  StoredSource(experts::WeightSource& source, experts::DType stored)
      : source_(source), stored_(stored) {}
  [[nodiscard]] experts::RouterTensors router() override { return source_.router(); }
  [[nodiscard]] experts::ExpertTensors expert(std::int64_t logical) override;
  [[nodiscard]] experts::ExpertTensors shared() override;
  [[nodiscard]] experts::WeightView shared_gate() override { return source_.shared_gate(); }
  [[nodiscard]] experts::ExpertTensors dense() override;
  [[nodiscard]] std::vector<float> output_bias() override { return source_.output_bias(); }

 private:
  experts::WeightSource& source_;
  experts::DType stored_;
};

/// Rows [first, first + count) of the global batch.
[[nodiscard]] experts::Matrix law_tokens(const LawCase& law, std::int64_t first,
                                         std::int64_t count);
}  // namespace switchyard::runtime
