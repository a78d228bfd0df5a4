// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/router/choice.hpp"
#include "experts/router/weighting.hpp"
#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

using testing::ElementsAre;
using testing::FloatNear;

auto near(double value) {
  return FloatNear(static_cast<float>(value), 1e-6F);
}

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

TEST(Router, ASpecThatCannotBeIsRefusedWithTheNearestThatCan) {
  const auto said = [](const std::function<void(RouterSpec&)>& change) {
    RouterSpec spec = softmax_top(8, 2);
    change(spec);
    return refusal([&] { validate(spec); });
  };
  EXPECT_EQ(said([](RouterSpec&) {}), "");
  EXPECT_EQ(said([](RouterSpec& s) { s.top_k = 9; }), "router: top_k is 9, want 1 to 8");
  EXPECT_EQ(said([](RouterSpec& s) { s.top_k = 0; }), "router: top_k is 0, want 1 to 8");
  EXPECT_EQ(said([](RouterSpec& s) { s.top_k = 9, s.identity = 1; }), "");
  EXPECT_EQ(said([](RouterSpec& s) { s.hidden = 0; }), "router: hidden is 0, want at least 1");
  EXPECT_EQ(said([](RouterSpec& s) { s.experts = 0; }),
            "router: experts is 0, want 1 to 2147483647");
  EXPECT_EQ(said([](RouterSpec& s) { s.identity = -1; }),
            "router: identity is -1, want 0 to 2147483639");
  EXPECT_EQ(said([](RouterSpec& s) { s.groups = 3; }),
            "router: groups is 3, want a divisor of 8, nearest are 2 and 4");
  EXPECT_EQ(said([](RouterSpec& s) { s.groups = 9; }),
            "router: groups is 9, want a divisor of 8, nearest is 8");
  EXPECT_EQ(said([](RouterSpec& s) { s.groups = 0; }),
            "router: groups is 0, want a divisor of 8, nearest is 1");
  EXPECT_EQ(said([](RouterSpec& s) { s.groups = 4, s.groups_kept = 5; }),
            "router: groups_kept is 5, want 1 to 4");
  EXPECT_EQ(said([](RouterSpec& s) { s.groups = 4; }),
            "router: group_score is none with 1 of 4 groups kept, want max or sum of the two best");
  EXPECT_EQ(
      said([](RouterSpec& s) { s.top_k = 5, s.groups = 4, s.group_score = GroupScore::kMax; }),
      "router: groups_kept is 1, want at least 3, for top_k 5 from groups of 2");
  EXPECT_EQ(said([](RouterSpec& s) { s.norm_p = 0; }),
            "router: norm_p is 0, want a positive number");
  EXPECT_EQ(said([](RouterSpec& s) { s.norm_eps = -0.5F; }),
            "router: norm_eps is -0.5, want 0 or a positive number");
  EXPECT_EQ(said([](RouterSpec& s) { s.scale = std::nanf(""); }),
            "router: scale is nan, want a positive number");
  EXPECT_EQ(said([](RouterSpec& s) { s.transform_value = 0; }),
            "router: transform_value is 0, want a positive number");
  EXPECT_EQ(said([](RouterSpec& s) { s.sparsemixer_jitter = -0.01F; }),
            "router: sparsemixer_jitter is -0.01, want 0 or a positive number");
  EXPECT_EQ(said([](RouterSpec& s) { s.capacity.min_capacity = -4; }),
            "router: min_capacity is -4, want 0 or more");
  EXPECT_EQ(said([](RouterSpec& s) { s.capacity.group_tokens = -1; }),
            "router: group_tokens is -1, want 0 or more");
}

TEST(Router, ADescriptionNamesTheStepsInTheirOrder) {
  RouterSpec olmoe = softmax_top(64, 8);
  EXPECT_EQ(describe(olmoe), "softmax > top-8 of 64 > weights raw");

  RouterSpec deepseek = softmax_top(256, 8);
  deepseek.scoring = Scoring::kSigmoid;
  deepseek.groups = 8;
  deepseek.groups_kept = 4;
  deepseek.group_score = GroupScore::kSumTop2;
  deepseek.normalize = Normalize::kSum;
  deepseek.norm_eps = 1e-20F;
  deepseek.scale = 2.5F;
  EXPECT_EQ(describe(deepseek),
            "sigmoid > 4 of 8 groups by sum of two best > top-8 of 256 > weights / (sum + 1e-20) > "
            "x 2.5");

  RouterSpec yuan = softmax_top(32, 2);
  yuan.logits = Logits::kAttention;
  yuan.scoring = Scoring::kNone;
  yuan.weighting = Weighting::kSoftmaxOfChosen;
  EXPECT_EQ(describe(yuan),
            "attention over experts > logits > top-2 of 32 > weights softmax of chosen");

  RouterSpec grin = softmax_top(16, 2);
  grin.choice = Choice::kSparseMixer;
  EXPECT_EQ(describe(grin), "sparsemixer 2 of 16, jitter 0.01 > weights masked softmax");

  RouterSpec limited = softmax_top(8, 1);
  limited.gate_on = GateOn::kInput;
  limited.capacity = {.rule = CapacityRule::kRecycle, .factor = 1.25};
  EXPECT_EQ(describe(limited),
            "softmax > top-1 of 8 > weights raw > on the input > recycle, factor 1.25");
}
}  // namespace
}  // namespace switchyard::experts::test
