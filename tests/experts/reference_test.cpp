// SPDX-License-Identifier: Apache-2.0
// The oracle's blocks and logits on cases worked by hand. Its bounds are in
// reference_bounds_test.cpp, its routing in reference_route_test.cpp.
#include "experts/reference.hpp"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>

#include "tests/experts/given_weights.hpp"

namespace switchyard::experts {
namespace {
using given::block_of;
using given::Given;
using given::routing_of;
using given::Stored;
using given::stored;
using reference::Bounded;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;

// One expert of hidden 1 and width 1, x = 1.
struct ByHand {
  std::string name;
  Unit unit;
  Activation activation;
  float gate, up, linear, down;
  double expected;
};

TEST(Reference, EachUnitAndActivationGivesTheNumberWorkedByHand) {
  const std::vector<ByHand> cases = {
      {"silu(2) * 3 * 0.5", Unit::kGated, Activation::kSilu, 2, 3, 0, 0.5F, 2.642391233933647},
      {"gelu(1) * 2, erf", Unit::kPlain, Activation::kGeluErf, 0, 1, 0, 2, 1.6826894921370859},
      {"gelu(1) * 2, tanh", Unit::kPlain, Activation::kGeluTanh, 0, 1, 0, 2, 1.6823839812165536},
      {"relu(-1) * 2", Unit::kPlain, Activation::kRelu, 0, -1, 0, 2, 0},
      {"relu(3) * 2", Unit::kPlain, Activation::kRelu, 0, 3, 0, 2, 6},
      {"silu(2) * 3 * 0.5", Unit::kTrilinear, Activation::kSilu, 2, 3, 0.5F, 1, 2.642391233933647},
      {"-6 * 7 * sigmoid(1.702 * 7): gate 8 and up -9 are clamped", Unit::kGated,
       Activation::kClampedSwiglu, 8, -9, 0, 1, -41.99971876986309},
      {"3 * -8 * sigmoid(1.702 * -8): gate is not clamped from below", Unit::kGated,
       Activation::kClampedSwiglu, -8, 2, 0, 1, -2.9299281455874075e-05},
  };
  for (const ByHand& hand : cases) {
    SCOPED_TRACE(hand.name);
    Given source;
    const ExpertSpec spec{
        .unit = hand.unit, .activation = hand.activation, .hidden = 1, .width = 1};
    source.experts.push_back({spec,
                              stored(1, 1, {hand.gate}),
                              stored(1, 1, {hand.up}),
                              stored(1, 1, {hand.linear}),
                              stored(1, 1, {hand.down}),
                              {},
                              {},
                              {}});
    Matrix x(1, 1);
    x(0, 0) = 1;
    const Bounded y =
        reference::block(block_of(1, spec), source, x.view(), routing_of(1, {0}, {1}));
    EXPECT_NEAR(y.values[0], hand.expected, 1e-14 * std::abs(hand.expected));
    EXPECT_LE(y.bounds[0], 1e-4);
  }
}

/// One expert silu(x) * x of hidden 1, and always-on parts to be filled in.
Given silu_times_x() {
  Given source;
  const ExpertSpec spec{.hidden = 1, .width = 1};
  source.experts.push_back(
      {spec, stored(1, 1, {1}), stored(1, 1, {1}), {}, stored(1, 1, {1}), {}, {}, {}});
  return source;
}
constexpr double kSiluOfOne = 0.7310585786300049;

TEST(Reference, BiasesAreAddedToGateUpAndDown) {
  Given source = silu_times_x();  // silu(1 + 1) * (1 + 2) * 0.5 + 10
  source.experts[0].spec.biases = true;
  source.experts[0].down = stored(1, 1, {0.5F});
  source.experts[0].gate_bias = {1};
  source.experts[0].up_bias = {2};
  source.experts[0].down_bias = {10};
  Matrix x(1, 1);
  x(0, 0) = 1;
  const Bounded y = reference::block(block_of(1, source.experts[0].spec), source, x.view(),
                                     routing_of(1, {0}, {1}));
  EXPECT_NEAR(y.values[0], 12.642391233933647, 1e-13);
}

TEST(Reference, AWeightOnTheInputGoesThroughTheExpertAndOneOnTheOutputDoesNot) {
  Given source = silu_times_x();
  BlockSpec spec = block_of(1, source.experts[0].spec);
  Matrix x(1, 1);
  x(0, 0) = 1;
  const Routing half = routing_of(1, {0}, {0.5F});
  EXPECT_NEAR(reference::block(spec, source, x.view(), half).values[0], 0.5 * kSiluOfOne, 1e-15);
  spec.router.gate_on = GateOn::kInput;  // silu(0.5) * 0.5
  EXPECT_NEAR(reference::block(spec, source, x.view(), half).values[0], 0.15561483280046365, 1e-15);
}

TEST(Reference, IdentityExpertsGiveBackTheInputAndDroppedSlotsNothing) {
  Given source = silu_times_x();
  BlockSpec spec = block_of(1, source.experts[0].spec);
  spec.router.identity = 2;
  Matrix x(2, 1);
  x(0, 0) = 1;
  x(1, 0) = 1;
  for (const GateOn gate_on : {GateOn::kOutput, GateOn::kInput}) {
    spec.router.gate_on = gate_on;
    const Bounded y =
        reference::block(spec, source, x.view(), routing_of(2, {2, kDropped, 1}, {0.5F, 0, 0.25F}));
    EXPECT_EQ(y.values, (std::vector<double>{0.75, 0.75}));
  }
}

TEST(Reference, AlwaysOnPartsAreAddedOnceAToken) {
  Given source = silu_times_x();
  const ExpertSpec relu{
      .unit = Unit::kPlain, .activation = Activation::kRelu, .hidden = 1, .width = 1};
  source.shared_network = {relu, {}, stored(1, 1, {3}), {}, stored(1, 1, {1}), {}, {}, {}};
  source.dense_network = {relu, {}, stored(1, 1, {1}), {}, stored(1, 1, {100}), {}, {}, {}};
  source.gate_of_shared = stored(1, 1, {2});
  source.bias = {1000};
  BlockSpec spec = block_of(1, source.experts[0].spec);
  Matrix x(1, 1);
  x(0, 0) = 1;
  const Routing twice = routing_of(1, {0, kDropped}, {2, 0});
  const auto value = [&] { return reference::block(spec, source, x.view(), twice).values[0]; };
  EXPECT_NEAR(value(), 2 * kSiluOfOne, 1e-14);
  spec.shared = relu;
  EXPECT_NEAR(value(), 2 * kSiluOfOne + 3, 1e-14);
  spec.shared_gate = SharedGate::kSigmoid;  // sigmoid(2)
  EXPECT_NEAR(value(), 2 * kSiluOfOne + 3 * 0.8807970779778823, 1e-14);
  spec.output_bias = true;
  EXPECT_NEAR(value(), 2 * kSiluOfOne + 3 * 0.8807970779778823 + 1000, 1e-11);
  spec.dense = relu;
  EXPECT_NEAR(value(), 2 * kSiluOfOne + 3 * 0.8807970779778823 + 1000, 1e-11) << "mode is none";
  spec.dense_mode = DenseMode::kParallel;
  EXPECT_NEAR(value(), 2 * kSiluOfOne + 3 * 0.8807970779778823 + 1100, 1e-11);
  spec.output_bias = false;
  spec.shared.reset();
  spec.dense_mode = DenseMode::kSequential;  // one element: its norm is 1 but for the epsilon
  EXPECT_NEAR(value(), 2 * kSiluOfOne + 100, 1e-4);
}

TEST(Reference, ASequentialDenseNetworkReadsTheNormOfInputPlusOutput) {
  Given source;  // no slot is taken, so y = 0: rmsnorm(3, 4) = (3, 4) / sqrt(12.5 + 1e-6)
  const ExpertSpec relu{
      .unit = Unit::kPlain, .activation = Activation::kRelu, .hidden = 2, .width = 2};
  source.dense_network = {relu, {}, stored(2, 2, {1, 0, 0, 1}), {}, stored(2, 2, {1, 0, 0, 1}), {},
                          {},   {}};
  BlockSpec spec = block_of(1, relu);
  spec.dense = relu;
  spec.dense_mode = DenseMode::kSequential;
  Matrix x(1, 2);
  x(0, 0) = 2;
  x(0, 1) = 3;
  spec.output_bias = true;
  source.bias = {1, 1};
  const Bounded y = reference::block(spec, source, x.view(), routing_of(1, {kDropped}, {0}));
  EXPECT_NEAR(y.values[0], 1 + 0.8485281034827336, 1e-14);
  EXPECT_NEAR(y.values[1], 1 + 1.1313708046436448, 1e-14);
}

TEST(Reference, LogitsOfEachKindAreTheNumbersWorkedByHand) {
  Matrix x(1, 1);
  x(0, 0) = 1;
  RouterSpec spec;
  spec.hidden = 1;
  spec.experts = 2;
  const Stored first = stored(2, 1, {1, -1});
  const Stored second = stored(2, 1, {1, 2});
  const Stored third = stored(2, 1, {3, 5});
  const Stored square = stored(2, 2, {2, 0, 2, 2});
  const Stored half = stored(2, 1, {0.5F, 0.5F});

  const Bounded linear =
      reference::logits(spec, {first.view(), {}, {}, {10, 20}, {}, {}}, x.view());
  EXPECT_EQ(linear.values, (std::vector<double>{11, 19}));

  spec.logits = Logits::kMlpTanh;  // 2 tanh(0.5), 4 tanh(0.5)
  const Bounded mlp =
      reference::logits(spec, {half.view(), square.view(), {}, {}, {}, {}}, x.view());
  EXPECT_NEAR(mlp.values[0], 0.9242343145200195, 1e-15);
  EXPECT_NEAR(mlp.values[1], 2 * 0.9242343145200195, 1e-15);

  spec.logits = Logits::kAttention;  // rows (1, 2) and (-1, -2) of affinities over values (3, 5)
  const Bounded attention = reference::logits(
      spec, {first.view(), second.view(), third.view(), {0, 1}, {}, {}}, x.view());
  EXPECT_NEAR(attention.values[0], 4.4621171572600105, 1e-14);
  EXPECT_NEAR(attention.values[1], 1 + 3.5378828427399904, 1e-14);
}

TEST(Reference, AWeightOfAnotherShapeIsRefusedByName) {
  Given source = silu_times_x();
  source.experts[0].up = stored(1, 2, {1, 1});
  const BlockSpec spec = block_of(1, source.experts[0].spec);
  const Matrix x(1, 1);
  EXPECT_THAT([&] { (void)reference::block(spec, source, x.view(), routing_of(1, {0}, {1})); },
              Throws<std::invalid_argument>(
                  Property(&std::invalid_argument::what,
                           HasSubstr("reference: expert 0 up is [1, 2], want [1, 1]"))));
  EXPECT_THAT([&] { (void)reference::block(spec, source, x.view(), routing_of(1, {7}, {1})); },
              Throws<std::invalid_argument>(
                  Property(&std::invalid_argument::what, HasSubstr("expert 7, want 0 to 0"))));
}
}  // namespace
}  // namespace switchyard::experts
