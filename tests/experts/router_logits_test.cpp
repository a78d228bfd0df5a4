// SPDX-License-Identifier: Apache-2.0
// From tokens to logits: the networks of a router, and the shapes of their weights.
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

/// Owns what the views of RouterTensors look at.
struct Weights {
  std::vector<float> first;
  std::vector<float> second;
  std::vector<float> third;
  std::vector<float> bias;

  static WeightView view(const std::vector<float>& values, std::int64_t in) {
    if (values.empty()) return {};
    return {.data = values.data(),
            .out = static_cast<std::int64_t>(values.size()) / in,
            .in = in,
            .out_stride = in};
  }
  [[nodiscard]] RouterTensors tensors(std::int64_t in) const {
    RouterTensors t;
    t.weight = view(first, in);
    t.second = view(second, in);
    t.third = view(third, in);
    t.bias = bias;
    return t;
  }
};

// W x = (1 2 + 0 3, -1 2 + 2 3) = (2, 4), + bias = (3, 2).
TEST(Router, LinearLogitsAreTheProductPlusTheBias) {
  RouterSpec spec = softmax_top(2, 1);
  spec.hidden = 2;
  spec.scoring = Scoring::kNone;
  const Weights weights{.first = {1, 0, -1, 2}, .second = {}, .third = {}, .bias = {1, -2}};
  const Router router(spec, weights.tensors(2), Isa::kPortable);
  const Routing routing = router.route(matrix({{2, 3}}).view());
  EXPECT_THAT(routing.logits.row(0), ElementsAre(3.0F, 2.0F));
  EXPECT_THAT(routing.experts, ElementsAre(0));
}

// W1 x = (0.5, -1); W2 = (2 1; 0 3): z = (2 tanh 0.5 + tanh -1, 3 tanh -1).
TEST(Router, TwoLayersHaveATanhBetweenThem) {
  RouterSpec spec = softmax_top(2, 1);
  spec.hidden = 2;
  spec.logits = Logits::kMlpTanh;
  const Weights weights{.first = {0.5F, 0, 0, -1}, .second = {2, 1, 0, 3}, .third = {}, .bias = {}};
  const Router router(spec, weights.tensors(2), Isa::kPortable);
  const Routing routing = router.route(matrix({{1, 1}}).view());
  EXPECT_THAT(routing.logits.row(0),
              ElementsAre(near(2 * std::tanh(0.5) - std::tanh(1.0)), near(-3 * std::tanh(1.0))));
}

// q = (1, 0), k = (0, ln 3), v = (4, 8). Row 0: softmax (0, ln 3) = (1/4, 3/4): 7. Row 1: even: 6.
TEST(Router, AttentionOverExpertsMixesValuesWithoutAFactor) {
  RouterSpec spec = softmax_top(2, 2);
  spec.logits = Logits::kAttention;
  spec.scoring = Scoring::kNone;
  spec.weighting = Weighting::kSoftmaxOfChosen;
  const Weights weights{
      .first = {1, 0}, .second = {0, std::log(3.0F)}, .third = {4, 8}, .bias = {}};
  const Router router(spec, weights.tensors(1), Isa::kPortable);
  const Routing routing = router.route(matrix({{1}}).view());
  EXPECT_THAT(routing.logits.row(0), ElementsAre(FloatNear(7, 1e-5F), FloatNear(6, 1e-5F)));
  EXPECT_THAT(routing.weights,
              ElementsAre(FloatNear(0.731059F, 1e-5F), FloatNear(0.268941F, 1e-5F)));
}

TEST(Router, WeightsOfAnotherShapeAreRefused) {
  RouterSpec spec = softmax_top(2, 1);
  spec.hidden = 2;
  const auto said = [&](const Weights& weights) {
    return refusal([&] { (void)Router(spec, weights.tensors(2), Isa::kPortable); });
  };
  EXPECT_EQ(said({.first = {1, 2, 3, 4, 5, 6}, .second = {}, .third = {}, .bias = {}}),
            "router: weight is [3, 2], want [2, 2]");
  EXPECT_EQ(said({}), "router: weight is [0, 0], want [2, 2]");
  EXPECT_EQ(said({.first = {1, 2, 3, 4}, .second = {}, .third = {}, .bias = {1}}),
            "router: bias has 1 values, want none or 2");
  spec.logits = Logits::kMlpTanh;
  EXPECT_EQ(said({.first = {1, 2, 3, 4}, .second = {}, .third = {}, .bias = {}}),
            "router: second weight is [0, 0], want [2, 2]");
  const Router router = router_of(softmax_top(4, 2));
  EXPECT_EQ(refusal([&] { (void)router.route_logits(Matrix(3, 5)); }),
            "router: logits is [3, 5], want [3, 4]");
  EXPECT_EQ(refusal([&] {
              (void)router_of(softmax_top(2, 1), {0.0F, kHidden});
            }),
            "router: selection_bias of expert 1 is -inf, want a finite number");
}
}  // namespace
}  // namespace switchyard::experts::test
