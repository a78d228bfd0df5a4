// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

RouterSpec mixer(std::int64_t experts, std::int64_t top_k, float jitter) {
  RouterSpec spec = softmax_top(experts, top_k);
  spec.choice = Choice::kSparseMixer;
  spec.sparsemixer_jitter = jitter;
  return spec;
}

// Jitter 0.01, so logits within 0.02 (relative) of the winner are kept.
// Round 1: m = 1. (1 - 0.99) / 1 = 0.01 is kept, (1 - 0.5) / 1 is not: w = 1 / (1 + e^-0.01).
// Round 2: m = 0.99. (0.99 - 0.5) / 0.99 is not kept, expert 0 has left: w = 1.
TEST(SparseMixer, EachRoundHasItsOwnMaskedSoftmax) {
  const Routing routing =
      router_of(mixer(4, 2, 0.01F)).route_logits(matrix({{1.0F, 0.99F, 0.5F, -0.2F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(0, 1));
  const auto near_tie = static_cast<float>(1 / (1 + std::exp(-0.01)));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(FloatNear(near_tie, 1e-6F), 1.0F));
}

// Jitter 0.12, threshold 0.24.
// Round 1: m = 2: 1.6 has 0.4 / 2 = 0.2, kept; 1.3 has 0.35, 1.0 has 0.5, not.
// Round 2: m = 1.6: 1.3 has 0.1875, kept; 1.0 has 0.375, not.
// Round 3: m = 1.3: 1.0 has 0.2308, kept.
TEST(SparseMixer, ThreeRoundsTakeAndRemoveOneWinnerEach) {
  const Routing routing =
      router_of(mixer(4, 3, 0.12F)).route_logits(matrix({{1.0F, 1.6F, 2.0F, 1.3F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(2, 1, 3));
  const auto share = [](double gap) { return static_cast<float>(1 / (1 + std::exp(-gap))); };
  EXPECT_THAT(weights_of(routing, 0),
              ElementsAre(FloatNear(share(0.4), 1e-6F), FloatNear(share(0.3), 1e-6F),
                          FloatNear(share(0.3), 1e-6F)));
}

// m = -1: (-1 + 1.01) / max(1.01, -1) = 0.0099 is kept; (-1 + 2) / 2 is not.
TEST(SparseMixer, NegativeLogitsAreMeasuredByTheirSize) {
  const Routing routing =
      router_of(mixer(3, 1, 0.01F)).route_logits(matrix({{-2.0F, -1.0F, -1.01F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(1));
  const auto near_tie = static_cast<float>(1 / (1 + std::exp(-0.01)));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(FloatNear(near_tie, 1e-6F)));
}

// Round 1: m = 0 and both zeros give 0 / 0, kept: w = 1/2. Round 2: one is left: w = 1.
TEST(SparseMixer, ZeroOverZeroIsKeptAndTiesGoToTheLowerExpert) {
  const Routing routing = router_of(mixer(3, 2, 0.01F)).route_logits(matrix({{-1.0F, 0.0F, 0.0F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(1, 2));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(0.5F, 1.0F));
}

TEST(SparseMixer, AHiddenExpertIsNeitherKeptNorChosen) {
  const Router router = router_of(mixer(3, 2, 10.0F));
  const Routing routing = router.route_logits(matrix({{kHidden, 0.0F, 0.0F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(1, 2));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(0.5F, 1.0F));
  EXPECT_EQ(refusal([&] {
              (void)router.route_logits(matrix({{kHidden, kHidden, 0.0F}}));
            }),
            "token 0: 1 of 3 logits are finite, want at least 2");
}

TEST(SparseMixer, AllExpertsCanBeChosen) {
  const Routing routing = router_of(mixer(3, 3, 0.01F)).route_logits(matrix({{1.0F, 3.0F, 2.0F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(1, 2, 0));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(1.0F, 1.0F, 1.0F));
}

TEST(SparseMixer, ScoresAreTheSoftmaxOfTheLogitsWhateverTheScoring) {
  RouterSpec spec = mixer(3, 1, 0.01F);
  spec.scoring = Scoring::kNone;
  const Routing routing = router_of(spec).route_logits(logits_of({{0.5F, 0.2F, 0.3F}}));
  EXPECT_THAT(routing.scores.row(0),
              ElementsAre(FloatNear(0.5F, 1e-6F), FloatNear(0.2F, 1e-6F), FloatNear(0.3F, 1e-6F)));
}

TEST(SparseMixer, TheScaleMultipliesItsWeights) {
  RouterSpec spec = mixer(2, 1, 0.01F);
  spec.scale = 2.5F;
  EXPECT_THAT(weights_of(router_of(spec).route_logits(matrix({{4.0F, 1.0F}})), 0),
              ElementsAre(2.5F));
}

TEST(SparseMixer, ASelectionBiasIsRefused) {
  EXPECT_EQ(refusal([] {
              (void)router_of(mixer(2, 1, 0.01F), {0.0F, 0.0F});
            }),
            "router: selection_bias without a top-k choice, want none");
}
}  // namespace
}  // namespace switchyard::experts::test
