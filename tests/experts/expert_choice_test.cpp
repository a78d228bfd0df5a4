// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::IsEmpty;

RouterSpec expert_choice(std::int64_t experts, double factor) {
  RouterSpec spec = softmax_top(experts, 0);
  spec.choice = Choice::kExpertChoice;
  spec.capacity.factor = factor;
  return spec;
}

// C = ceil(1 * 4 / 2) = 2. Expert 0 has 0.9, 0.8, 0.3, 0.2: tokens 0 and 1. Expert 1 has 0.1, 0.2,
// 0.7, 0.8: tokens 3 and 2.
TEST(ExpertChoice, EachExpertTakesItsHighestScores) {
  const Routing routing = route_all(
      expert_choice(2, 1), logits_of({{0.9F, 0.1F}, {0.8F, 0.2F}, {0.3F, 0.7F}, {0.2F, 0.8F}}));
  EXPECT_THAT(routing.experts, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(routing.offsets, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(0.9F, 1e-6F), FloatNear(0.8F, 1e-6F),
                                           FloatNear(0.7F, 1e-6F), FloatNear(0.8F, 1e-6F)));
}

// C = ceil(1 * 3 / 3) = 1. Experts 0 and 1 are both best at token 1 (0.4 and 0.5), expert 2 at
// token 0 (0.6): token 2 gets nothing.
TEST(ExpertChoice, ATokenMayHaveManyExpertsByAscendingIdOrNone) {
  const Routing routing = route_all(
      expert_choice(3, 1), logits_of({{0.2F, 0.2F, 0.6F}, {0.4F, 0.5F, 0.1F}, {0.3F, 0.3F, 0.4F}}));
  EXPECT_THAT(routing.offsets, ElementsAre(0, 1, 3, 3));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(2));
  EXPECT_THAT(experts_of(routing, 1), ElementsAre(0, 1));
  EXPECT_THAT(experts_of(routing, 2), IsEmpty());
}

TEST(ExpertChoice, TiesGoToTheLowerToken) {
  const Routing routing = route_all(expert_choice(2, 1), Matrix(4, 2));
  EXPECT_THAT(routing.offsets, ElementsAre(0, 2, 4, 4, 4));
}

TEST(ExpertChoice, TheShareIsRoundedUpAndNeverMoreThanThereIs) {
  EXPECT_EQ(capacity_of(expert_choice(3, 1), 4), 2);        // 1.33
  EXPECT_EQ(capacity_of(expert_choice(10, 1.1), 100), 11);  // exactly
  EXPECT_EQ(capacity_of(expert_choice(2, 8), 4), 16);
  const Routing routing = route_all(expert_choice(2, 8), Matrix(4, 2));
  EXPECT_EQ(routing.slots(), 8) << "every expert took every token once";
}

// Expert 1 is hidden from tokens 0 and 1 and may take three (C = ceil(1.5 * 4 / 2)): it takes the
// two that see it, though token 3's score underflows to 0.
TEST(ExpertChoice, AHiddenExpertNeverTakesAToken) {
  const Routing routing =
      route_all(expert_choice(2, 1.5),
                matrix({{0.0F, kHidden}, {0.0F, kHidden}, {0.0F, 0.0F}, {0.0F, -500.0F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(0));
  EXPECT_THAT(experts_of(routing, 1), ElementsAre(0));
  EXPECT_THAT(experts_of(routing, 2), ElementsAre(1));
  EXPECT_THAT(experts_of(routing, 3), ElementsAre(0, 1));
  EXPECT_THAT(weights_of(routing, 3), ElementsAre(1.0F, 0.0F));
}

TEST(ExpertChoice, ATokenThatHidesAllExpertsGetsNone) {
  const Routing routing = route_all(expert_choice(2, 2), matrix({{kHidden, kHidden}, {0, 0}}));
  EXPECT_THAT(routing.offsets, ElementsAre(0, 0, 2));
  EXPECT_THAT(routing.scores.row(0), ElementsAre(0.0F, 0.0F));
}

// Groups of 2, 2 and 1 tokens, C = 1, 1 and ceil(1 / 2) = 1: each group has its own winner.
TEST(ExpertChoice, RoutingGroupsChooseApart) {
  RouterSpec spec = expert_choice(2, 1);
  spec.capacity.group_tokens = 2;
  const Routing routing = route_all(
      spec, logits_of({{0.9F, 0.1F}, {0.8F, 0.2F}, {0.3F, 0.7F}, {0.2F, 0.8F}, {0.6F, 0.4F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(0));
  EXPECT_THAT(experts_of(routing, 1), ElementsAre(1));
  EXPECT_THAT(experts_of(routing, 2), ElementsAre(0));
  EXPECT_THAT(experts_of(routing, 3), ElementsAre(1));
  EXPECT_THAT(experts_of(routing, 4), ElementsAre(0, 1));
}

TEST(ExpertChoice, WeightsAreRawScoresTimesTheScale) {
  RouterSpec spec = expert_choice(2, 1);
  spec.scale = 4;
  const Routing routing = route_all(spec, logits_of({{0.25F, 0.75F}, {0.75F, 0.25F}}));
  EXPECT_THAT(routing.experts, ElementsAre(1, 0));
  EXPECT_THAT(routing.weights, ElementsAre(FloatNear(3, 1e-6F), FloatNear(3, 1e-6F)));
}

TEST(ExpertChoice, BeforeTheBatchRuleThereAreScoresAndNoSlots) {
  const RouterSpec spec = expert_choice(2, 1);
  EXPECT_TRUE(needs_whole_batch(spec));
  const Routing routing = router_of(spec).route_logits(Matrix(3, 2));
  EXPECT_EQ(routing.tokens(), 3);
  EXPECT_EQ(routing.slots(), 0);
  EXPECT_EQ(routing.scores(2, 1), 0.5F);
}

TEST(ExpertChoice, NoTokensGiveNoSlots) {
  const Routing routing = route_all(expert_choice(2, 1), Matrix(0, 2));
  EXPECT_EQ(routing.tokens(), 0);
  EXPECT_EQ(routing.slots(), 0);
}

TEST(ExpertChoice, WhatItCannotHaveIsRefused) {
  RouterSpec spec = expert_choice(4, 0);
  EXPECT_EQ(refusal([&] { validate(spec); }),
            "router: capacity factor is 0, want 1e-06 to 1e+06 for expert choice");
  spec = expert_choice(4, 1);
  spec.identity = 2;
  EXPECT_EQ(refusal([&] { validate(spec); }), "router: identity is 2, want 0 for expert choice");
  spec = expert_choice(4, 1);
  spec.capacity.rule = CapacityRule::kFlaxformer;
  EXPECT_EQ(refusal([&] { validate(spec); }),
            "router: capacity rule is flaxformer with expert choice, want none");
  spec = expert_choice(4, 1);
  spec.normalize = Normalize::kSum;
  EXPECT_EQ(refusal([&] { validate(spec); }),
            "router: weights are normalised with expert choice, want raw scores");
}

TEST(ExpertChoice, ARoutingWithoutItsLogitsIsRefused) {
  const RouterSpec spec = expert_choice(2, 1);
  Routing routing = router_of(spec).route_logits(Matrix(3, 2));
  routing.logits = Matrix();
  EXPECT_EQ(refusal([&] { apply_batch_rule(spec, routing); }),
            "apply_batch_rule: logits is [0, 0], want [3, 2]");
}
}  // namespace
}  // namespace switchyard::experts::test
