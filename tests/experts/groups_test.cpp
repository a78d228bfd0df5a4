// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/router/choice.hpp"
#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

RouterSpec grouped(std::int64_t experts, std::int64_t groups, std::int64_t kept, GroupScore score,
                   std::int64_t top_k) {
  RouterSpec spec = softmax_top(experts, top_k);
  spec.groups = groups;
  spec.groups_kept = kept;
  spec.group_score = score;
  return spec;
}

// Groups {0, 1}, {2, 3}, {4, 5} have best scores 0.3, 0.25, 0.2; the best two groups stay, and
// the best three of their experts are 0, 2, 3, although expert 4 beats both 3 and 1.
TEST(Groups, TheBestScoreOfAGroupDecidesWhichStay) {
  const Routing routing = router_of(grouped(6, 3, 2, GroupScore::kMax, 3))
                              .route_logits(logits_of({{0.3F, 0.02F, 0.25F, 0.1F, 0.2F, 0.13F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(0, 2, 3));
  EXPECT_THAT(weights_of(routing, 0),
              ElementsAre(FloatNear(0.3F, 1e-6F), FloatNear(0.25F, 1e-6F), FloatNear(0.1F, 1e-6F)));
}

// Sums of the two best: {0, 1, 2} 0.4 + 0.01, {3, 4, 5} 0.25 + 0.2. The third of a group is not
// counted: with it the first group would have 0.42, with the best alone 0.4 would win.
TEST(Groups, TheSumOfTheTwoBestPrefersTheBroaderGroup) {
  const Rows p{{0.4F, 0.01F, 0.01F, 0.25F, 0.2F, 0.13F}};
  EXPECT_THAT(
      experts_of(router_of(grouped(6, 2, 1, GroupScore::kSumTop2, 2)).route_logits(logits_of(p)),
                 0),
      ElementsAre(3, 4));
  EXPECT_THAT(
      experts_of(router_of(grouped(6, 2, 1, GroupScore::kMax, 2)).route_logits(logits_of(p)), 0),
      ElementsAre(0, 1));
}

// Sigmoid of 0 is 0.5; biases make the choice scores -0.1, -0.9 | -0.2, -0.3. Sums of two: -1.0 and
// -0.5: the second group stays. Filling the other with 0 would choose expert 0 or 1.
TEST(Groups, AnExpertOfAnotherGroupIsNeverChosenThoughAllChoiceScoresAreNegative) {
  RouterSpec spec = grouped(4, 2, 1, GroupScore::kSumTop2, 2);
  spec.scoring = Scoring::kSigmoid;
  const Routing routing = router_of(spec, {-0.6F, -1.4F, -0.7F, -0.8F}).route_logits(Matrix(1, 4));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(2, 3));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(0.5F, 0.5F)) << "weights are unbiased";
}

TEST(Groups, EqualGroupsGoToTheLowerOne) {
  for (const GroupScore score : {GroupScore::kMax, GroupScore::kSumTop2}) {
    const Routing routing = router_of(grouped(8, 4, 2, score, 3)).route_logits(Matrix(1, 8));
    EXPECT_THAT(experts_of(routing, 0), ElementsAre(0, 1, 2));
  }
}

// 1 + 4 equals 3 + 2 in group standing, so the lower group wins though the higher has the best.
TEST(Groups, EqualSumsGoToTheLowerGroup) {
  RouterSpec spec = grouped(4, 2, 1, GroupScore::kSumTop2, 1);
  spec.scoring = Scoring::kNone;
  EXPECT_THAT(experts_of(router_of(spec).route_logits(matrix({{3.0F, 2.0F, 1.0F, 4.0F}})), 0),
              ElementsAre(0));
}

TEST(Groups, KeepingAllGroupsChangesNothing) {
  const Matrix logits = random_logits(50, 12, 1);
  const Routing plain = router_of(softmax_top(12, 4)).route_logits(logits);
  const Routing all = router_of(grouped(12, 3, 3, GroupScore::kMax, 4)).route_logits(logits);
  EXPECT_EQ(all.experts, plain.experts);
  EXPECT_TRUE(same_bits(all.weights, plain.weights));
}

TEST(Groups, OneExpertInAGroupCountsAlone) {
  const std::vector<float> one{-0.25F};
  const std::vector<float> two{-0.5F, -0.25F};
  EXPECT_EQ(group_standing(GroupScore::kSumTop2, one), -0.25F);
  EXPECT_EQ(group_standing(GroupScore::kSumTop2, two), -0.75F);
  EXPECT_EQ(group_standing(GroupScore::kMax, two), -0.25F);
}

// Group {0, 1} shows only expert 0 (0.3); group {2, 3} has 0.2 + 0.15. With the sum of one visible
// expert against the sum of two, the second group stays.
TEST(Groups, HiddenExpertsAddNothingToTheirGroup) {
  RouterSpec spec = grouped(4, 2, 1, GroupScore::kSumTop2, 2);
  spec.scoring = Scoring::kSigmoid;
  const Routing routing = router_of(spec).route_logits(matrix({{-0.85F, kHidden, -1.39F, -1.73F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(2, 3));
  const std::vector<float> group{kHidden, 0.3F, kHidden};
  EXPECT_EQ(group_standing(GroupScore::kSumTop2, group), 0.3F);
}

// The first group wins by its best logit but shows one expert, and two are asked for.
TEST(Groups, TooFewFiniteLogitsInTheKeptGroupsAreAnError) {
  const Router router = router_of(grouped(4, 2, 1, GroupScore::kMax, 2));
  const Rows logits{{0.0F, 0.0F, 0.0F, 0.0F}, {9.0F, kHidden, 1.0F, 1.0F}};
  EXPECT_EQ(refusal([&] { (void)router.route_logits(matrix(logits)); }),
            "token 1: 1 finite logits in the kept groups, want at least 2");
}
}  // namespace
}  // namespace switchyard::experts::test
