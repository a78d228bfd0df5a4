// SPDX-License-Identifier: Apache-2.0
// The oracle's routing on cases worked by hand. Most use no scoring, so that the logits written
// here are the scores and the weights. Capacity rules are in reference_capacity_test.cpp.
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <stdexcept>
#include <vector>

#include "experts/reference.hpp"
#include "tests/experts/given_weights.hpp"

namespace switchyard::experts {
namespace {
using given::matrix_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kLog2 = std::log(2.0F);
const float kLog3 = std::log(3.0F);

RouterSpec top(std::int64_t k, std::int64_t experts, Scoring scoring) {
  RouterSpec spec;
  spec.experts = experts;
  spec.top_k = k;
  spec.scoring = scoring;
  return spec;
}

Routing route(const RouterSpec& spec, const std::vector<std::vector<float>>& logits,
              const std::vector<float>& selection_bias = {}) {
  return reference::route(spec, selection_bias, matrix_of(logits));
}

void expect_refused(const RouterSpec& spec, const std::vector<std::vector<float>>& logits,
                    const std::string& message, const std::vector<float>& selection_bias = {}) {
  EXPECT_THAT([&] { (void)route(spec, logits, selection_bias); },
              Throws<std::invalid_argument>(
                  Property(&std::invalid_argument::what, HasSubstr("reference: " + message))));
}

TEST(ReferenceRoute, TheBestExpertComesFirstAndTiesGoToTheLowerId) {
  const Routing routing = route(top(3, 4, Scoring::kNone), {{1, 2, 1, 2}, {0, 0, 0, 0}});
  EXPECT_THAT(routing.experts, ElementsAre(1, 3, 0, 0, 1, 2));
  EXPECT_THAT(routing.weights, ElementsAre(2, 2, 1, 0, 0, 0));
  EXPECT_THAT(routing.offsets, ElementsAre(0, 3, 6));
}

TEST(ReferenceRoute, ScoresThatAreEqualInFloat32AreATie) {
  // sigmoid(20) and sigmoid(21) are both 1 in float32.
  EXPECT_THAT(route(top(1, 2, Scoring::kSigmoid), {{20, 21}}).experts, ElementsAre(0));
  EXPECT_THAT(route(top(1, 2, Scoring::kSoftmax), {{20, 21}}).experts, ElementsAre(1));
}

TEST(ReferenceRoute, EachWeightingAndNormalisationGivesItsNumber) {
  // Probabilities 1/7, 2/7, 4/7.
  const std::vector<std::vector<float>> logits = {{0, kLog2, 2 * kLog2}};
  RouterSpec spec = top(2, 3, Scoring::kSoftmax);
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(2, 1));
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(4.0F / 7), FloatEq(2.0F / 7)));
  spec.scale = 3.5F;
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(2), FloatEq(1)));
  spec.normalize = Normalize::kSum;
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(7.0F / 3), FloatEq(3.5F / 3)));
  spec.norm_eps = 1.0F / 7;
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(2), FloatEq(1)));
  spec.normalize = Normalize::kClampedSum;
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(7.0F / 3), FloatEq(3.5F / 3)));
  spec.norm_eps = 1;
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(2), FloatEq(1)));
  spec.normalize = Normalize::kPNorm;
  spec.norm_p = 2;
  EXPECT_THAT(route(spec, logits).weights,
              ElementsAre(FloatEq(3.5F * 4 / std::sqrt(20.0F)), FloatEq(7 / std::sqrt(20.0F))));
  spec.normalize = Normalize::kNone;
  spec.weighting = Weighting::kSoftmaxOfChosen;
  spec.scoring = Scoring::kNone;
  EXPECT_THAT(route(spec, logits).weights, ElementsAre(FloatEq(7.0F / 3), FloatEq(3.5F / 3)));
}

TEST(ReferenceRoute, ASelectionBiasMovesTheChoiceAndNeverTheWeight) {
  const Routing routing = route(top(1, 2, Scoring::kSigmoid), {{0, kLog3}}, {0.5F, 0});
  EXPECT_THAT(routing.experts, ElementsAre(0));  // 0.5 + 0.5 over 0.75
  EXPECT_THAT(routing.weights, ElementsAre(0.5F));
  EXPECT_THAT(routing.scores.row(0), ElementsAre(0.5F, FloatEq(0.75F)));
}

TEST(ReferenceRoute, AHiddenExpertIsNeverChosenAndScoresNothing) {
  const std::vector<std::vector<float>> logits = {{kLog2, -kInfinity, 0}};
  const Routing routing = route(top(2, 3, Scoring::kSoftmax), logits, {0, 100, 0});
  EXPECT_THAT(routing.experts, ElementsAre(0, 2));
  EXPECT_THAT(routing.scores.row(0), ElementsAre(FloatEq(2.0F / 3), 0, FloatEq(1.0F / 3)));
}

TEST(ReferenceRoute, AGroupIsScoredByItsBestOrByTheSumOfItsTwoBest) {
  RouterSpec spec = top(1, 6, Scoring::kNone);
  spec.groups = 3;
  spec.group_score = GroupScore::kMax;
  const std::vector<std::vector<float>> logits = {{5, 0, 3, 4, 1, 1}};
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(0));
  spec.group_score = GroupScore::kSumTop2;
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(3));
  spec.group_score = GroupScore::kNone;
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(0));
  spec.groups = 6;  // one expert a group: its sum is its score
  spec.group_score = GroupScore::kSumTop2;
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(0));
}

TEST(ReferenceRoute, AnExpertOutsideTheKeptGroupsIsNotChosenEvenIfThoseInsideAreNegative) {
  RouterSpec spec = top(2, 4, Scoring::kNone);
  spec.groups = 2;
  spec.group_score = GroupScore::kMax;
  EXPECT_THAT(route(spec, {{10, -5, 1, 1}}).experts, ElementsAre(0, 1));
  EXPECT_THAT(route(spec, {{1, 0, 1, 1}}).experts, ElementsAre(0, 1)) << "a tie of groups";
  spec.top_k = 3;
  expect_refused(spec, {{10, -5, 1, 1}}, "token 0: 2 experts left to choose from, want 3");
}

TEST(ReferenceRoute, GroupsAreScoredByBiasedScores) {
  RouterSpec spec = top(1, 4, Scoring::kNone);
  spec.groups = 2;
  spec.group_score = GroupScore::kSumTop2;
  const Routing routing = route(spec, {{3, 3, 2, 0}}, {0, 0, 0, 5});
  EXPECT_THAT(routing.experts, ElementsAre(3));
  EXPECT_THAT(routing.weights, ElementsAre(0));
}

TEST(ReferenceRoute, SparsemixerTakesOneExpertAfterTheOtherEachWithItsOwnSoftmax) {
  RouterSpec spec = top(4, 4, Scoring::kSoftmax);
  spec.choice = Choice::kSparseMixer;
  spec.sparsemixer_jitter = 0.1F;
  const Routing routing = route(spec, {{0.9F, 1, -1, 0.5F}, {0, 0, 0, 0}});
  EXPECT_THAT(routing.experts, ElementsAre(1, 0, 3, 2, 0, 1, 2, 3));
  spec.scoring = Scoring::kNone;
  EXPECT_THAT(route(spec, {{0, 0, 0, 0}}).scores.row(0), Each(0.25F));
  // (1 - 0.9) / 1 is kept: 1 / (1 + exp(-0.1)). 0 / 0 is kept too.
  EXPECT_THAT(routing.weights,
              ElementsAre(FloatEq(0.52497918747894F), 1, 1, 1, 0.25F, FloatEq(1.0F / 3), 0.5F, 1));
}

TEST(ReferenceRoute, LogitsAreStandardisedByTheUnbiasedDeviationOrCapped) {
  RouterSpec spec = top(3, 3, Scoring::kNone);
  spec.transform = LogitTransform::kStandardise;
  spec.transform_value = 2;
  EXPECT_THAT(route(spec, {{1, 2, 3}}).weights, ElementsAre(2, 0, -2));
  EXPECT_THAT(route(spec, {{0.1F, 0.1F, 0.1F}}).weights, ElementsAre(0, 0, 0));
  spec.top_k = 2;
  EXPECT_THAT(route(spec, {{1, -kInfinity, 3}}).weights,
              ElementsAre(FloatEq(std::sqrt(2.0F)), FloatEq(-std::sqrt(2.0F))));
  spec.transform = LogitTransform::kTanhCap;
  EXPECT_THAT(route(spec, {{2, -2, 0}}).weights, ElementsAre(FloatEq(1.5231883119115297F), 0));
}

TEST(ReferenceRoute, ExpertChoiceTakesTheBestTokensOfEachExpertTiesToTheLowerToken) {
  RouterSpec spec = top(1, 2, Scoring::kSoftmax);
  spec.choice = Choice::kExpertChoice;
  spec.capacity.factor = 1;  // C = 2
  const std::vector<std::vector<float>> logits = {{kLog3, 0}, {kLog3, 0}, {kLog3, 0}, {2, 0}};
  const Routing routing = route(spec, logits);
  EXPECT_THAT(routing.offsets, ElementsAre(0, 2, 3, 3, 4));  // token 2 has nobody
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(routing.weights, ElementsAre(FloatEq(0.75F), FloatEq(0.25F), FloatEq(0.25F),
                                           FloatEq(0.8807970779778823F)));

  spec.capacity.group_tokens = 2;  // C = 1 in each group
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(route(spec, logits).offsets, ElementsAre(0, 2, 2, 3, 4));
  EXPECT_THAT(route(spec, {{0, -kInfinity}, {0, -kInfinity}}).experts, ElementsAre(0));
  spec.capacity.factor = 0;
  expect_refused(spec, logits, "expert choice with capacity factor 0");
}

TEST(ReferenceRoute, LogitsThatAreNoLogitsAreRefusedByTokenAndExpert) {
  const RouterSpec spec = top(2, 3, Scoring::kSoftmax);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect_refused(spec, {{0, 0, 0}, {0, nan, 0}}, "token 1: logit of expert 1 is nan");
  expect_refused(spec, {{0, 0, kInfinity}}, "token 0: logit of expert 2 is inf");
  expect_refused(spec, {{0, -kInfinity, -kInfinity}}, "token 0: 1 finite logits, want 2");
  expect_refused(spec, {{0, 0}}, "logits have 2 experts, want 3");
  expect_refused(spec, {{0, 0, 0}}, "selection bias has 2 elements, want 3", {1, 2});
  expect_refused(top(4, 3, Scoring::kNone), {{0, 0, 0}}, "top_k is 4, want 1 to 3");
}
}  // namespace
}  // namespace switchyard::experts
