// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>

#include "experts/synthetic.hpp"
#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::FloatNear;

RouterSpec limited(CapacityRule rule, double factor, std::int64_t experts, std::int64_t top_k) {
  RouterSpec spec = softmax_top(experts, top_k);
  spec.capacity.rule = rule;
  spec.capacity.factor = factor;
  spec.capacity.devices = 1;
  return spec;
}

auto near(float value) {
  return FloatNear(value, 1e-6F);
}

std::int64_t capacity(CapacityRule rule, double factor, std::int64_t tokens, std::int64_t experts,
                      std::int64_t top_k) {
  return capacity_of(limited(rule, factor, experts, top_k), tokens);
}

// In binary 100 * 1.1 * 3 / 10 is 33.000000000000004, and its ceiling 34.
TEST(Capacity, AFactorIsTheDecimalThatWasWritten) {
  EXPECT_EQ(capacity(CapacityRule::kDeepspeedPosition, 1.1, 100, 10, 3), 33);
  EXPECT_EQ(capacity(CapacityRule::kDeepspeedPosition, 1.1, 101, 10, 3), 34);  // 33.33
  EXPECT_EQ(capacity(CapacityRule::kDeepspeedPosition, 0.07, 100, 7, 1), 1);
  EXPECT_EQ(capacity(CapacityRule::kDeepspeedPosition, 1e-6, 1'000'000, 1, 1), 1);
  EXPECT_EQ(capacity(CapacityRule::kDeepspeedPosition, 1e6, 4096, 8, 2), 1'024'000'000);
  EXPECT_EQ(capacity(CapacityRule::kDeepspeedPosition, 1.2345678901234567, 1'000'000'000, 1, 1),
            1'234'567'891);
}

TEST(Capacity, DeepspeedRoundsUpAndHasAMinimum) {
  RouterSpec spec = limited(CapacityRule::kDeepspeedTop2, 1, 3, 2);
  EXPECT_EQ(capacity_of(spec, 4), 3);  // 8 / 3
  spec.capacity.min_capacity = 5;
  EXPECT_EQ(capacity_of(spec, 4), 5);
  EXPECT_EQ(capacity_of(spec, 12), 8);
}

// Python's round: halves go to the even neighbour. No factor k. At least 4.
TEST(Capacity, FlaxformerRoundsHalvesToEven) {
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1, 9, 2, 2), 4);      // 4.5
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1, 11, 2, 2), 6);     // 5.5
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1, 13, 2, 2), 6);     // 6.5
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1.3, 50, 10, 2), 6);  // 6.5
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1.3, 51, 10, 2), 7);  // 6.63
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1, 2, 2, 2), 4);
  EXPECT_EQ(capacity(CapacityRule::kFlaxformer, 1.25, 8192, 32, 2), 320);
}

TEST(Capacity, ColossalRoundsDownThenUpToEven) {
  EXPECT_EQ(capacity(CapacityRule::kColossal, 1.25, 10, 5, 2), 6);    // 5
  EXPECT_EQ(capacity(CapacityRule::kColossal, 1.1, 100, 10, 3), 34);  // 33
  EXPECT_EQ(capacity(CapacityRule::kColossal, 1, 27, 10, 3), 8);      // 8.1
  EXPECT_EQ(capacity(CapacityRule::kColossal, 1, 4, 4, 2), 4);        // 2
}

TEST(Capacity, ADeviceHasItsShareOfAllSlots) {
  RouterSpec spec = limited(CapacityRule::kDeviceBudget, 1, 6, 2);
  spec.capacity.devices = 3;
  EXPECT_EQ(capacity_of(spec, 4), 3);  // 8 / 3
}

TEST(Capacity, NothingIsDroppedWithoutAFactorOrARule) {
  EXPECT_EQ(capacity(CapacityRule::kColossal, 0, 9, 2, 2), 9);
  EXPECT_FALSE(needs_whole_batch(limited(CapacityRule::kColossal, 0, 2, 2)));
  EXPECT_FALSE(needs_whole_batch(limited(CapacityRule::kNone, 1, 2, 2)));
  EXPECT_TRUE(needs_whole_batch(limited(CapacityRule::kColossal, 1, 2, 2)));
  const Matrix logits = random_logits(40, 8, 2);
  const Routing plain = router_of(softmax_top(8, 2)).route_logits(logits);
  const Routing zero = route_all(limited(CapacityRule::kDeepspeedTop2, 0, 8, 2), logits);
  EXPECT_EQ(zero.experts, plain.experts);
  EXPECT_TRUE(same_bits(zero.weights, plain.weights));
}

// Three tokens, C = ceil(3 / 3 * 2) = 2. First choices 1, 0, 0; second choices 0, 1, 2.
Matrix three_tokens() {
  return logits_of({{0.3F, 0.6F, 0.1F}, {0.6F, 0.3F, 0.1F}, {0.7F, 0.1F, 0.2F}});
}

// First choices fill expert 0 with tokens 1 and 2; token 0's second choice finds it full. What is
// left of token 0 is 0.6 / 0.6; token 1 has 0.6 / 0.9 and 0.3 / 0.9, token 2 0.7 / 0.9, 0.2 / 0.9.
TEST(Capacity, DeepspeedTop2ServesAllFirstChoicesBeforeAnySecond) {
  const Routing routing = route_all(limited(CapacityRule::kDeepspeedTop2, 1, 3, 2), three_tokens());
  EXPECT_THAT(routing.experts, ElementsAre(1, kDropped, 0, 1, 0, 2));
  EXPECT_THAT(routing.weights, ElementsAre(near(1), 0.0F, near(2.0F / 3), near(1.0F / 3),
                                           near(7.0F / 9), near(2.0F / 9)));
}

// Token after token: 1 and 0, then 0 and 1, then expert 0 is full for token 2.
TEST(Capacity, DeepspeedPositionServesTokenAfterToken) {
  RouterSpec spec = limited(CapacityRule::kDeepspeedPosition, 1, 3, 2);
  spec.scale = 2;
  const Routing routing = route_all(spec, three_tokens());
  EXPECT_THAT(routing.experts, ElementsAre(1, 0, 0, 1, kDropped, 2));
  EXPECT_THAT(routing.weights, ElementsAre(near(4.0F / 3), near(2.0F / 3), near(4.0F / 3),
                                           near(2.0F / 3), 0.0F, near(2)));
}

// C = ceil(0.5 * 3 * 2 / 3) = 1. Expert 0 has gates 0.3, 0.6, 0.7: token 2. Expert 1 has 0.6 and
// 0.3: token 0. Expert 2 has 0.2 of token 2. Token 1 is left with nothing.
TEST(Capacity, DeepspeedProbsKeepsTheLargestGates) {
  const Routing routing =
      route_all(limited(CapacityRule::kDeepspeedProbs, 0.5, 3, 2), three_tokens());
  EXPECT_THAT(routing.experts, ElementsAre(1, kDropped, kDropped, kDropped, 0, 2));
  EXPECT_THAT(routing.weights,
              ElementsAre(near(1), 0.0F, 0.0F, 0.0F, near(7.0F / 9), near(2.0F / 9)));
}

TEST(Capacity, DeepspeedProbsGivesTiesToTheLowerToken) {
  const Routing routing = route_all(limited(CapacityRule::kDeepspeedProbs, 1, 2, 1), Matrix(4, 2));
  EXPECT_THAT(routing.experts, ElementsAre(0, 0, kDropped, kDropped));
}

// Scores far below 2^-23: their sum counts as 2^-23, so the weights do not blow up to 1.
TEST(Capacity, SurvivorsAreDividedByAtLeastTheEpsilonOfFloat32) {
  RouterSpec spec = limited(CapacityRule::kDeepspeedPosition, 1, 2, 1);
  spec.scoring = Scoring::kSigmoid;
  const Routing routing = route_all(spec, matrix({{-23.0F, -50.0F}}));
  EXPECT_THAT(routing.weights,
              ElementsAre(FloatNear(static_cast<float>(std::exp(-23.0) * 0x1p23), 1e-6F)));
}

// E = 2, T = 6: C = max(4, 3). First choices: tokens 0 to 4 want expert 0 (token 4 is too late),
// token 5 wants expert 1. Second choices: expert 1 takes tokens 0, 1, 2 and is full; token 5 finds
// expert 0 full. Weights stay raw.
TEST(Capacity, FlaxformerDropsWithoutRenormalising) {
  Rows p(5, {0.7F, 0.3F});
  p.push_back({0.2F, 0.8F});
  const Routing routing = route_all(limited(CapacityRule::kFlaxformer, 1, 2, 2), logits_of(p));
  EXPECT_THAT(routing.experts,
              ElementsAre(0, 1, 0, 1, 0, 1, 0, kDropped, kDropped, kDropped, 1, kDropped));
  EXPECT_THAT(weights_of(routing, 2), ElementsAre(near(0.7F), near(0.3F)));
  EXPECT_THAT(weights_of(routing, 3), ElementsAre(near(0.7F), 0.0F));
  EXPECT_THAT(weights_of(routing, 4), ElementsAre(0.0F, 0.0F));
}

// The same tokens: C = floor(2 * 0.8 * 6 / 2) = 4 by ColossalAI's rule; with factor 1 it is 6 and
// all fit, where flaxformer's 4 drops.
TEST(Capacity, ColossalHasFlaxformersOrderAndAnotherCapacity) {
  Rows p(5, {0.7F, 0.3F});
  p.push_back({0.2F, 0.8F});
  const Routing tight = route_all(limited(CapacityRule::kColossal, 0.8, 2, 2), logits_of(p));
  EXPECT_THAT(tight.experts,
              ElementsAre(0, 1, 0, 1, 0, 1, 0, kDropped, kDropped, kDropped, 1, kDropped));
  const Routing wide = route_all(limited(CapacityRule::kColossal, 1, 2, 2), logits_of(p));
  EXPECT_THAT(wide.experts, Each(testing::Ge(0)));
}

// Raw means as the router weighed them: here divided by their sum before anything was dropped.
TEST(Capacity, RulesThatDoNotRenormaliseKeepTheRoutersWeights) {
  RouterSpec spec = limited(CapacityRule::kFlaxformer, 1, 2, 2);
  spec.normalize = Normalize::kSum;
  const Routing routing = route_all(spec, logits_of(Rows(5, {0.75F, 0.25F})));
  EXPECT_THAT(weights_of(routing, 3), ElementsAre(near(0.75F), near(0.25F)));
  EXPECT_THAT(weights_of(routing, 4), ElementsAre(0.0F, 0.0F));
}

// Devices {0, 1} and {2, 3}; budget ceil(0.75 * 2 * 2 / 2) = 2 of a device. Device 0 is offered
// 0.4, 0.3 (token 0) and 0.35 (token 1): 0.3 goes. Device 1 is offered 0.5.
TEST(Capacity, ADeviceDropsItsLowestScores) {
  RouterSpec spec = limited(CapacityRule::kDeviceBudget, 0.75, 4, 2);
  spec.capacity.devices = 2;
  const Routing routing =
      route_all(spec, logits_of({{0.4F, 0.3F, 0.2F, 0.1F}, {0.35F, 0.1F, 0.05F, 0.5F}}));
  EXPECT_THAT(routing.experts, ElementsAre(0, kDropped, 3, 0));
  EXPECT_THAT(routing.weights, ElementsAre(near(0.4F), 0.0F, near(0.5F), near(0.35F)));
}

// All scores equal, one device, every token wants experts 0 and 1. Budget ceil(0.375 * 2 * 2) = 2:
// token 1 goes first. Budget ceil(0.25 * 2 * 2) = 1: then token 0's higher expert.
TEST(Capacity, ADeviceDropsTheHigherTokenAndThenTheHigherExpertAmongEquals) {
  RouterSpec spec = limited(CapacityRule::kDeviceBudget, 0.375, 2, 2);
  EXPECT_THAT(route_all(spec, Matrix(2, 2)).experts, ElementsAre(0, 1, kDropped, kDropped));
  spec.capacity.factor = 0.25;
  EXPECT_THAT(route_all(spec, Matrix(2, 2)).experts, ElementsAre(0, kDropped, kDropped, kDropped));
}

// A selection bias puts expert 1 in the first slot; the scores are equal, so expert 1 goes.
TEST(Capacity, ADeviceComparesUnbiasedScores) {
  RouterSpec spec = limited(CapacityRule::kDeviceBudget, 0.5, 2, 2);
  Routing routing = router_of(spec, {0.0F, 1.0F}).route_logits(Matrix(1, 2));
  ASSERT_THAT(routing.experts, ElementsAre(1, 0));
  apply_batch_rule(spec, routing);
  EXPECT_THAT(routing.experts, ElementsAre(kDropped, 0));
}

// C = ceil(1 * 4 / 2) = 2: tokens 2 and 3 find expert 0 full; both free places are expert 1's.
TEST(Capacity, RecycleSendsLateTokensToAnExpertWithRoomAndItsProbability) {
  const Routing routing =
      route_all(limited(CapacityRule::kRecycle, 1, 2, 1),
                logits_of({{0.9F, 0.1F}, {0.8F, 0.2F}, {0.7F, 0.3F}, {0.6F, 0.4F}}));
  EXPECT_THAT(routing.experts, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(routing.weights, ElementsAre(near(0.9F), near(0.8F), near(0.3F), near(0.4F)));
}

// C = ceil(0.5 * 4 / 2) = 1: one place is left for three late tokens, the first takes it.
TEST(Capacity, RecycleDropsWhatFindsNoPlace) {
  const Routing routing =
      route_all(limited(CapacityRule::kRecycle, 0.5, 2, 1), logits_of(Rows(4, {0.9F, 0.1F})));
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, kDropped, kDropped));
  EXPECT_THAT(routing.weights, ElementsAre(near(0.9F), near(0.1F), 0.0F, 0.0F));
}

TEST(Capacity, RecycleDropsATokenThatHidesTheExpertItDraws) {
  const Routing routing =
      route_all(limited(CapacityRule::kRecycle, 1, 2, 1),
                matrix({{5.0F, 0.0F}, {5.0F, 0.0F}, {5.0F, kHidden}, {5.0F, 0.0F}}));
  EXPECT_THAT(routing.experts, ElementsAre(0, 0, kDropped, 1));
}

TEST(Capacity, RecycleNormalisesTheNewWeightAsTheSpecSays) {
  RouterSpec spec = limited(CapacityRule::kRecycle, 1, 2, 1);
  spec.normalize = Normalize::kSum;
  spec.scale = 3;
  const Routing routing = route_all(spec, logits_of(Rows(4, {0.9F, 0.1F})));
  EXPECT_THAT(routing.experts, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(routing.weights, Each(3.0F));
}

// 64 tokens want expert 0 of 4, C = 16. The 48 free places, 1 x 16, 2 x 16, 3 x 16, are shuffled:
// place i, from 47 down to 1, changes with place floor(r (i + 1) / 2^32).
TEST(Capacity, RecycleShufflesByTheSeedAsSpecified) {
  RouterSpec spec = limited(CapacityRule::kRecycle, 1, 4, 1);
  spec.capacity.seed = 0x0123456789abcdefU;
  const Routing routing = route_all(spec, logits_of(Rows(64, {0.7F, 0.1F, 0.1F, 0.1F})));
  std::vector<std::int32_t> places;
  for (std::int32_t e = 1; e < 4; ++e) places.insert(places.end(), 16, e);
  for (std::uint32_t i = 47; i > 0; --i) {
    const std::uint32_t r = philox({i, 0, 0, 16}, {0x89abcdefU, 0x01234567U})[0];
    std::swap(places[i], places[(std::uint64_t{r} * (i + 1)) >> 32U]);
  }
  EXPECT_TRUE(std::equal(places.begin(), places.end(), routing.experts.begin() + 16));
  spec.capacity.seed = 1;
  EXPECT_NE(route_all(spec, logits_of(Rows(64, {0.7F, 0.1F, 0.1F, 0.1F}))).experts,
            routing.experts);
}

// Two routed experts and two identities. C = ceil(1 * 4 * 1 / 2) = 2 (the identities are not
// counted); three tokens want expert 1, one wants identity 3.
TEST(Capacity, IdentityExpertsAreNeverFullAndDoNotCountAsExperts) {
  RouterSpec spec = limited(CapacityRule::kDeepspeedPosition, 1, 2, 1);
  spec.identity = 2;
  const Rows p{{0.1F, 0.7F, 0.1F, 0.1F},
               {0.1F, 0.7F, 0.1F, 0.1F},
               {0.1F, 0.7F, 0.1F, 0.1F},
               {0.1F, 0.1F, 0.1F, 0.7F}};
  EXPECT_THAT(route_all(spec, logits_of(p)).experts, ElementsAre(1, 1, kDropped, 3));
  for (const CapacityRule rule :
       {CapacityRule::kDeepspeedPosition, CapacityRule::kDeepspeedProbs, CapacityRule::kFlaxformer,
        CapacityRule::kColossal, CapacityRule::kDeviceBudget, CapacityRule::kRecycle}) {
    spec.capacity.rule = rule;
    const Routing all = route_all(spec, logits_of(Rows(20, {0.1F, 0.1F, 0.1F, 0.7F})));
    EXPECT_THAT(all.experts, Each(3)) << "rule " << static_cast<int>(rule);
  }
}

// Groups of 3, 3 and 1 tokens, all for expert 0, C = ceil(3 / 3) = 1, 1 and ceil(1 / 3) = 1.
TEST(Capacity, RoutingGroupsHaveCapacitiesOfTheirOwn) {
  RouterSpec spec = limited(CapacityRule::kDeepspeedPosition, 1, 3, 1);
  spec.capacity.group_tokens = 3;
  EXPECT_THAT(route_all(spec, Matrix(7, 3)).experts,
              ElementsAre(0, kDropped, kDropped, 0, kDropped, kDropped, 0));
}

// A group decides alone: its tokens fare the same without the rest of the batch.
TEST(Capacity, ARoutingGroupDoesNotSeeTheOthers) {
  const Matrix logits = random_logits(48, 6, 3);
  Matrix first(16, 6);
  std::copy_n(logits.data(), 16 * 6, first.data());
  for (const CapacityRule rule :
       {CapacityRule::kDeepspeedTop2, CapacityRule::kDeepspeedProbs, CapacityRule::kFlaxformer,
        CapacityRule::kColossal, CapacityRule::kDeviceBudget, CapacityRule::kRecycle}) {
    RouterSpec spec = limited(rule, 0.5, 6, rule == CapacityRule::kRecycle ? 1 : 2);
    spec.capacity.group_tokens = 16;
    const Routing all = route_all(spec, logits);
    const Routing alone = route_all(spec, first);
    for (std::int64_t t = 0; t < 16; ++t) {
      EXPECT_EQ(experts_of(all, t), experts_of(alone, t));
      EXPECT_TRUE(same_bits(weights_of(all, t), weights_of(alone, t)));
    }
  }
}

TEST(Capacity, NoExpertTakesMoreThanItsCapacity) {
  const Matrix logits = random_logits(200, 5, 4);
  for (const CapacityRule rule : {CapacityRule::kDeepspeedTop2, CapacityRule::kDeepspeedProbs,
                                  CapacityRule::kDeepspeedPosition, CapacityRule::kFlaxformer,
                                  CapacityRule::kColossal, CapacityRule::kRecycle}) {
    const RouterSpec spec = limited(rule, 0.75, 5, rule == CapacityRule::kRecycle ? 1 : 2);
    const Routing routing = route_all(spec, logits);
    for (std::int32_t e = 0; e < 5; ++e) {
      EXPECT_LE(std::ranges::count(routing.experts, e), capacity_of(spec, 200));
    }
    EXPECT_GT(std::ranges::count(routing.experts, kDropped), 0);
  }
}

TEST(Capacity, NoTokensAreNoTrouble) {
  EXPECT_EQ(route_all(limited(CapacityRule::kColossal, 1, 5, 2), Matrix(0, 5)).slots(), 0);
}

TEST(Capacity, ARuleThatDoesNotFitIsRefused) {
  const auto said = [](const RouterSpec& spec) { return refusal([&] { validate(spec); }); };
  EXPECT_EQ(said(limited(CapacityRule::kDeepspeedTop2, 1, 8, 3)),
            "router: top_k is 3, want 2 for capacity rule deepspeed-top2");
  EXPECT_EQ(said(limited(CapacityRule::kRecycle, 1, 8, 2)),
            "router: top_k is 2, want 1 for capacity rule recycle");
  RouterSpec spec = limited(CapacityRule::kDeviceBudget, 1, 8, 2);
  spec.capacity.devices = 3;
  EXPECT_EQ(said(spec), "router: devices is 3, want a divisor of 8, nearest are 2 and 4");
  spec = limited(CapacityRule::kDeepspeedProbs, 1, 8, 2);
  spec.scoring = Scoring::kNone;
  EXPECT_EQ(said(spec),
            "router: scoring is none with capacity rule deepspeed-probs, want softmax or sigmoid");
  spec = limited(CapacityRule::kColossal, -1, 8, 2);
  EXPECT_EQ(said(spec), "router: capacity factor is -1, want 0 (dropless) or 1e-06 to 1e+06");
  spec.capacity.factor = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(said(spec), "router: capacity factor is nan, want 0 (dropless) or 1e-06 to 1e+06");
}

TEST(Capacity, ABrokenRoutingIsRefused) {
  const RouterSpec spec = limited(CapacityRule::kDeepspeedPosition, 1, 3, 1);
  Routing routing = router_of(spec).route_logits(Matrix(2, 3));
  routing.experts[1] = 3;
  EXPECT_EQ(refusal([&] { apply_batch_rule(spec, routing); }),
            "apply_batch_rule: expert is 3, want -1 to 2");
  routing.experts.pop_back();
  EXPECT_EQ(refusal([&] { apply_batch_rule(spec, routing); }),
            "apply_batch_rule: got 1 experts and 2 weights, want 2");
}
}  // namespace
}  // namespace switchyard::experts::test
