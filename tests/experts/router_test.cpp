// SPDX-License-Identifier: Apache-2.0
// From logits to experts and weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/router/choice.hpp"
#include "experts/router/weighting.hpp"
#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

TEST(Router, SoftmaxThenTopKGivesTheChosenProbabilities) {
  const Routing routing =
      router_of(softmax_top(4, 2)).route_logits(logits_of({{0.1F, 0.4F, 0.2F, 0.3F}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(1, 3));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(near(0.4), near(0.3)));
  EXPECT_THAT(routing.scores.row(0), ElementsAre(near(0.1), near(0.4), near(0.2), near(0.3)));
}

TEST(Router, SoftmaxOverAllAndRenormalisingEqualsSoftmaxOverTheChosen) {
  RouterSpec after = softmax_top(16, 4);
  after.normalize = Normalize::kSum;
  RouterSpec within = softmax_top(16, 4);
  within.scoring = Scoring::kNone;
  within.weighting = Weighting::kSoftmaxOfChosen;
  const Matrix logits = random_logits(200, 16, 5);
  const Routing a = router_of(after).route_logits(logits);
  const Routing b = router_of(within).route_logits(logits);
  EXPECT_EQ(a.experts, b.experts);
  for (std::size_t s = 0; s < a.weights.size(); ++s) EXPECT_NEAR(a.weights[s], b.weights[s], 1e-6);
  EXPECT_TRUE(std::equal(logits.data(), logits.data() + 200 * 16, b.scores.data()))
      << "without scoring the scores are the logits";
}

// Sigmoids 0.5, 0.6, 0.7; biases 0.3, 0, -0.3 make 0.8, 0.6, 0.4. Weights are of 0.5 and 0.6.
TEST(Router, ASelectionBiasMovesTheChoiceAndNeverTheWeights) {
  RouterSpec spec = softmax_top(3, 2);
  spec.scoring = Scoring::kSigmoid;
  spec.normalize = Normalize::kSum;
  spec.norm_eps = 1e-20F;
  spec.scale = 2.5F;
  const auto logit = [](double s) { return static_cast<float>(std::log(s / (1 - s))); };
  const Routing routing = router_of(spec, {0.3F, 0.0F, -0.3F})
                              .route_logits(matrix({{logit(0.5), logit(0.6), logit(0.7)}}));
  EXPECT_THAT(experts_of(routing, 0), ElementsAre(0, 1));
  EXPECT_THAT(weights_of(routing, 0), ElementsAre(near(2.5 * 0.5 / 1.1), near(2.5 * 0.6 / 1.1)));
  EXPECT_THAT(routing.scores.row(0), ElementsAre(near(0.5), near(0.6), near(0.7)));
}

TEST(Router, TiesGoToTheLowerExpert) {
  for (const Scoring scoring : {Scoring::kNone, Scoring::kSoftmax, Scoring::kSigmoid}) {
    RouterSpec spec = softmax_top(5, 3);
    spec.scoring = scoring;
    EXPECT_THAT(router_of(spec).route_logits(Matrix(1, 5)).experts, ElementsAre(0, 1, 2));
    EXPECT_THAT(router_of(spec).route_logits(matrix({{-0.0F, 1.0F, 0.0F, 1.0F, -0.0F}})).experts,
                ElementsAre(1, 3, 0));
  }
}

TEST(Router, FewAreChosenInTheOrderThatManyAre) {
  std::mt19937 engine(3);
  std::uniform_int_distribution<int> few(-3, 3);  // so that most scores have equals
  for (int round = 0; round < 200; ++round) {
    std::vector<float> choice(40);
    const float factor = round % 2 == 0 ? 0.5F : -0.0F;
    for (float& score : choice) score = static_cast<float>(few(engine)) * factor;
    for (std::size_t e = 0; e < 10; ++e) choice[(7 * e + 3) % 40] = kHidden;
    std::vector<std::uint64_t> work;
    std::vector<std::int32_t> many(30);
    choose_top_k(choice, many, work);
    for (std::size_t k = 1; k <= 16; ++k) {
      std::vector<std::int32_t> chosen(k);
      choose_top_k(choice, chosen, work);
      EXPECT_TRUE(std::equal(chosen.begin(), chosen.end(), many.begin())) << round << ' ' << k;
    }
  }
}

// Scores of experts 2 and 3 underflow to exactly 0, which is also what a hidden expert scores.
TEST(Router, AHiddenExpertIsNotChosenThoughOthersUnderflow) {
  const Rows logits{{0.0F, kHidden, -1000.0F, -2000.0F}};
  for (const Scoring scoring : {Scoring::kNone, Scoring::kSoftmax, Scoring::kSigmoid}) {
    RouterSpec spec = softmax_top(4, 3);
    spec.scoring = scoring;
    EXPECT_THAT(router_of(spec).route_logits(matrix(logits)).experts, ElementsAre(0, 2, 3));
    EXPECT_THAT(router_of(spec, {0.0F, 1e9F, 0.0F, 0.0F}).route_logits(matrix(logits)).experts,
                ElementsAre(0, 2, 3))
        << "nor for its bias";
  }
}

TEST(Router, LogitsThatAreNoNumbersAreRefusedByTokenAndExpert) {
  const Router router = router_of(softmax_top(4, 2));
  const auto said = [&](std::int64_t token, std::int64_t expert, float logit) {
    Matrix logits(20, 4);
    logits(token, expert) = logit;
    return refusal([&] { (void)router.route_logits(std::move(logits)); });
  };
  EXPECT_EQ(said(17, 3, std::numeric_limits<float>::quiet_NaN()),
            "token 17: logit of expert 3 is nan, want a finite number or -inf");
  EXPECT_EQ(said(0, 1, -kHidden),
            "token 0: logit of expert 1 is inf, want a finite number or -inf");
  EXPECT_EQ(refusal([&] {
              (void)router.route_logits(matrix({{0, 0, 0, 0}, {kHidden, 1, kHidden, kHidden}}));
            }),
            "token 1: 1 of 4 logits are finite, want at least 2");
}

// Probabilities 0.5 and 0.25 are chosen.
TEST(Router, NormalisationsDivideByWhatTheySay) {
  const Rows p{{0.125F, 0.5F, 0.25F, 0.125F}};
  const auto weights = [&](Normalize normalize, float eps, float norm) {
    RouterSpec spec = softmax_top(4, 2);
    spec.normalize = normalize;
    spec.norm_eps = eps;
    spec.norm_p = norm;
    return weights_of(router_of(spec).route_logits(logits_of(p)), 0);
  };
  EXPECT_THAT(weights(Normalize::kNone, 0, 1), ElementsAre(near(0.5), near(0.25)));
  EXPECT_THAT(weights(Normalize::kSum, 0, 1), ElementsAre(near(2.0 / 3), near(1.0 / 3)));
  EXPECT_THAT(weights(Normalize::kSum, 0.25F, 1), ElementsAre(near(0.5), near(0.25)));
  EXPECT_THAT(weights(Normalize::kClampedSum, 1, 1), ElementsAre(near(0.5), near(0.25)));
  EXPECT_THAT(weights(Normalize::kClampedSum, 0.5F, 1), ElementsAre(near(2.0 / 3), near(1.0 / 3)));
  EXPECT_THAT(weights(Normalize::kPNorm, 0, 1), ElementsAre(near(2.0 / 3), near(1.0 / 3)));
  EXPECT_THAT(weights(Normalize::kPNorm, 0, 2),
              ElementsAre(near(2 / std::sqrt(5.0)), near(1 / std::sqrt(5.0))));
  EXPECT_THAT(weights(Normalize::kPNorm, 0, 3),
              ElementsAre(near(2 / std::cbrt(9.0)), near(1 / std::cbrt(9.0))));
}

TEST(Router, APNormOfAnyOrderAgreesWithTheLibrarysPower) {
  const std::vector<double> w{0.9, 1e-3, 0.04, 0.0, 0.31};
  for (const double p : {0.3, 0.5, 1.0, 1.7, 2.0, 3.0, 12.5, 100.0}) {
    double total = 0;
    for (const double v : w) total += std::pow(v, p);
    const double want = std::pow(total, 1 / p);
    EXPECT_NEAR(p_norm(w, p), want, 1e-13 * want) << p;
  }
}

// Every sigmoid underflows; 0 / 0 must not reach the experts.
TEST(Router, ScoresThatAreAllZeroGiveWeightsOfZero) {
  for (const Normalize normalize : {Normalize::kSum, Normalize::kClampedSum, Normalize::kPNorm}) {
    RouterSpec spec = softmax_top(3, 2);
    spec.scoring = Scoring::kSigmoid;
    spec.normalize = normalize;
    EXPECT_THAT(router_of(spec).route_logits(matrix({{-800, -800, -900}})).weights,
                ElementsAre(0.0F, 0.0F));
  }
}

// 1, 2, 3, 4 have mean 2.5 and unbiased deviation sqrt(5 / 3).
TEST(Router, StandardisedLogitsHaveTheUnbiasedDeviation) {
  RouterSpec spec = softmax_top(4, 4);
  spec.transform = LogitTransform::kStandardise;
  spec.transform_value = 2;
  spec.scoring = Scoring::kNone;
  const double unit = 2 / std::sqrt(5.0 / 3.0);
  EXPECT_THAT(
      router_of(spec).route_logits(matrix({{1, 2, 3, 4}})).scores.row(0),
      ElementsAre(near(-1.5 * unit), near(-0.5 * unit), near(0.5 * unit), near(1.5 * unit)));
  spec.scoring = Scoring::kSoftmax;
  EXPECT_THAT(router_of(spec).route_logits(matrix({{0.1F, 0.1F, 0.1F, 0.1F}})).weights,
              ElementsAre(0.25F, 0.25F, 0.25F, 0.25F));
  spec = softmax_top(1, 1);
  spec.transform = LogitTransform::kStandardise;
  EXPECT_THAT(router_of(spec).route_logits(matrix({{7}})).weights, ElementsAre(1.0F));
}

TEST(Router, AHiddenExpertTakesNoPartInStandardising) {
  RouterSpec spec = softmax_top(3, 2);
  spec.transform = LogitTransform::kStandardise;
  spec.scoring = Scoring::kNone;
  EXPECT_THAT(router_of(spec).route_logits(matrix({{1, kHidden, 3}})).scores.row(0),
              ElementsAre(near(-std::sqrt(0.5)), kHidden, near(std::sqrt(0.5))));
}

TEST(Router, ATanhCapBoundsTheLogitsAndLeavesTheSavedOnes) {
  RouterSpec spec = softmax_top(2, 2);
  spec.transform = LogitTransform::kTanhCap;
  spec.transform_value = 30;
  spec.scoring = Scoring::kNone;
  const Routing routing = router_of(spec).route_logits(matrix({{15, 3e38F}}));
  EXPECT_THAT(routing.scores.row(0), ElementsAre(FloatNear(13.8635F, 1e-4F), 30.0F));
  EXPECT_THAT(routing.logits.row(0), ElementsAre(15.0F, 3e38F));
}

// Llama 4: the best logit, weighted by its own sigmoid, on the input.
TEST(Router, ASigmoidGateWeighsByTheChosenLogitAlone) {
  RouterSpec spec = softmax_top(3, 1);
  spec.scoring = Scoring::kSigmoid;
  spec.gate_on = GateOn::kInput;
  const Routing routing = router_of(spec).route_logits(matrix({{0, -1, 2}}));
  EXPECT_THAT(routing.experts, ElementsAre(2));
  EXPECT_THAT(routing.weights, ElementsAre(near(1 / (1 + std::exp(-2.0)))));
}

// LongCat: softmax over all, two experts and two identities; scores of identities are scores.
TEST(Router, IdentityExpertsScoreLikeAnyOther) {
  RouterSpec spec = softmax_top(2, 2);
  spec.identity = 2;
  spec.scale = 6;
  const Routing routing =
      router_of(spec, {0.0F, 0.0F, 0.5F, 0.0F}).route_logits(logits_of({{0.2F, 0.3F, 0.1F, 0.4F}}));
  EXPECT_THAT(routing.experts, ElementsAre(2, 3));
  EXPECT_THAT(routing.weights, ElementsAre(near(0.6), near(2.4)));
}

TEST(Router, ATokensBitsDoNotDependOnItsBatch) {
  const Matrix logits = random_logits(33, 40, 6);
  RouterSpec spec = softmax_top(40, 6);
  spec.groups = 5;
  spec.groups_kept = 3;
  spec.group_score = GroupScore::kSumTop2;
  spec.normalize = Normalize::kSum;
  const Router router = router_of(spec);
  const Routing all = router.route_logits(logits);
  for (std::int64_t t = 0; t < 33; ++t) {
    Matrix alone(1, 40);
    std::ranges::copy(logits.row(t), alone.row(0).begin());
    Matrix last = random_logits(7, 40, static_cast<std::uint32_t>(t) + 100);
    std::ranges::copy(logits.row(t), last.row(6).begin());
    const Routing single = router.route_logits(std::move(alone));
    const Routing other = router.route_logits(std::move(last));
    EXPECT_EQ(experts_of(all, t), experts_of(single, 0));
    EXPECT_EQ(experts_of(all, t), experts_of(other, 6));
    EXPECT_TRUE(same_bits(weights_of(all, t), weights_of(single, 0)));
    EXPECT_TRUE(same_bits(weights_of(all, t), weights_of(other, 6)));
    EXPECT_EQ(std::memcmp(all.scores.row(t).data(), single.scores.row(0).data(), 160), 0);
  }
}

TEST(Router, AllExpertsOneExpertAndNoTokensAreOrdinary) {
  const Routing all =
      router_of(softmax_top(4, 4)).route_logits(logits_of({{0.1F, 0.4F, 0.2F, 0.3F}}));
  EXPECT_THAT(all.experts, ElementsAre(1, 3, 2, 0));
  const Routing one = router_of(softmax_top(1, 1)).route_logits(matrix({{-3}, {8}}));
  EXPECT_THAT(one.experts, ElementsAre(0, 0));
  EXPECT_THAT(one.weights, ElementsAre(1.0F, 1.0F));
  const Router router = router_of(softmax_top(4, 2));
  EXPECT_EQ(router.route_logits(Matrix()).tokens(), 0);
  EXPECT_EQ(router.route({}).tokens(), 0);
}
}  // namespace
}  // namespace switchyard::experts::test
