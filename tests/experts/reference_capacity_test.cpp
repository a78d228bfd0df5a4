// SPDX-License-Identifier: Apache-2.0
// The oracle's capacity rules, each on a case worked by hand. Without scoring, the logits written
// here are the scores and the weights.
#include <algorithm>
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <stdexcept>
#include <vector>

#include "experts/reference.hpp"
#include "experts/reference/routes.hpp"
#include "tests/experts/given_weights.hpp"

namespace switchyard::experts {
namespace {
using given::matrix_of;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Property;
using ::testing::Throws;

RouterSpec limited(std::int64_t k, std::int64_t experts, CapacityRule rule, double factor) {
  RouterSpec spec;
  spec.experts = experts;
  spec.top_k = k;
  spec.scoring = Scoring::kNone;
  spec.capacity.rule = rule;
  spec.capacity.factor = factor;
  return spec;
}

Routing route(const RouterSpec& spec, const std::vector<std::vector<float>>& logits) {
  return reference::route(spec, {}, matrix_of(logits));
}

/// Tokens that all want expert 0 of two, the only choice of each.
std::vector<std::vector<float>> all_to_one(std::size_t tokens, std::size_t experts) {
  std::vector<float> row(experts, 0);
  row[0] = 2;
  return {tokens, row};
}

std::int64_t kept(const Routing& routing) {
  return std::count_if(routing.experts.begin(), routing.experts.end(),
                       [](std::int32_t e) { return e != kDropped; });
}

// Two tokens, two experts, C = ceil(2 / 2 * 0.5 * 2) = 1. Token 0: experts 0 (3) and 1 (1).
// Token 1: experts 1 (5) and 0 (4).
const std::vector<std::vector<float>> kContest = {{3, 1}, {4, 5}};

TEST(ReferenceCapacity, DeepspeedTop2ServesAllFirstChoicesBeforeAnySecond) {
  const Routing routing = route(limited(2, 2, CapacityRule::kDeepspeedTop2, 0.5), kContest);
  EXPECT_THAT(routing.experts, ElementsAre(0, kDropped, 1, kDropped));
  EXPECT_THAT(routing.weights, ElementsAre(1, 0, 1, 0));
}

TEST(ReferenceCapacity, DeepspeedPositionServesTokensInOrder) {
  const Routing routing = route(limited(2, 2, CapacityRule::kDeepspeedPosition, 0.5), kContest);
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, kDropped, kDropped));
  EXPECT_THAT(routing.weights, ElementsAre(0.75F, 0.25F, 0, 0));
}

TEST(ReferenceCapacity, DeepspeedProbsKeepsTheLargestGatesOfEachExpert) {
  RouterSpec spec = limited(2, 2, CapacityRule::kDeepspeedProbs, 0.5);
  spec.scale = 9;
  const Routing routing = route(spec, kContest);
  EXPECT_THAT(routing.experts, ElementsAre(kDropped, kDropped, 1, 0));
  EXPECT_THAT(routing.weights, ElementsAre(0, 0, 5, 4));
}

TEST(ReferenceCapacity, DeepspeedRenormalisesSurvivorsByTheirScoresWhateverTheRouterDid) {
  RouterSpec spec = limited(2, 2, CapacityRule::kDeepspeedTop2, 1);  // C = 2: nothing is dropped
  const Routing routing = route(spec, kContest);
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, 1, 0));
  EXPECT_THAT(routing.weights, ElementsAre(0.75F, 0.25F, 5.0F / 9, 4.0F / 9));
  const Routing tiny = route(spec, {{1e-9F, 0}});  // the sum is at least float32's epsilon
  EXPECT_FLOAT_EQ(tiny.weights[0], 1e-9F / 1.19209290e-7F);
  spec.capacity.factor = 0.5;
  spec.capacity.min_capacity = 2;
  EXPECT_EQ(kept(route(spec, kContest)), 4);
}

TEST(ReferenceCapacity, AFactorMeansTheDecimalThatWasWritten) {
  // 1.1 * 100 / 10 is 11.000000000000002 in float64.
  for (const CapacityRule rule :
       {CapacityRule::kDeepspeedPosition, CapacityRule::kDeepspeedProbs}) {
    EXPECT_EQ(kept(route(limited(1, 10, rule, 1.1), all_to_one(100, 10))), 11);
  }
}

TEST(ReferenceCapacity, FlaxformerRoundsHalfToEvenHasNoFactorKAndKeepsRawWeights) {
  const auto rows = [](double factor) {
    return kept(route(limited(1, 2, CapacityRule::kFlaxformer, factor), all_to_one(10, 2)));
  };
  EXPECT_EQ(rows(0.1), 4);
  EXPECT_EQ(rows(0.9), 4);  // 4.5
  EXPECT_EQ(rows(0.92), 5);
  EXPECT_EQ(rows(1.1), 6);  // 5.5

  // k = 2, E = 2, T = 5, C = max(4, 2): every token asks both. Tokens 0 to 3 choose expert 0 first,
  // token 4 expert 1: the second choices of tokens 0 to 2 fill expert 1, and 3 and 4 lose theirs.
  const Routing routing =
      route(limited(2, 2, CapacityRule::kFlaxformer, 1), {{2, 1}, {2, 1}, {2, 1}, {2, 1}, {1, 2}});
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, 0, 1, 0, 1, 0, kDropped, 1, kDropped));
  EXPECT_THAT(routing.weights, ElementsAre(2, 1, 2, 1, 2, 1, 2, 0, 2, 0));
}

TEST(ReferenceCapacity, ColossalRoundsDownThenUpToEven) {
  const auto rows = [](double factor) {
    return kept(route(limited(1, 2, CapacityRule::kColossal, factor), all_to_one(10, 2)));
  };
  EXPECT_EQ(rows(0.1), 4);
  EXPECT_EQ(rows(1), 6);  // 5, odd
  EXPECT_EQ(rows(1.2), 6);
  EXPECT_EQ(rows(1.39), 6);  // 6.95
  EXPECT_EQ(rows(1.4), 8);   // 7, odd
  const Routing routing = route(limited(1, 2, CapacityRule::kColossal, 0.1), all_to_one(6, 2));
  EXPECT_THAT(routing.experts, ElementsAre(0, 0, 0, 0, kDropped, kDropped));
  EXPECT_THAT(routing.weights, ElementsAre(2, 2, 2, 2, 0, 0));
  // The factor k counts: 2 * 1 * 6 / 2 = 6.
  EXPECT_EQ(kept(route(limited(2, 2, CapacityRule::kColossal, 1), all_to_one(6, 2))), 12);
}

TEST(ReferenceCapacity, ADeviceBudgetDropsTheLowestScoresOfItsExperts) {
  RouterSpec spec = limited(2, 4, CapacityRule::kDeviceBudget, 1);
  spec.capacity.devices = 2;  // budget 2 * 2 / 2 = 2 rows for experts 0 and 1, 2 for 2 and 3
  const Routing routing = route(spec, {{5, 4, 0, 0}, {4.5F, 0, 3, 0}});
  EXPECT_THAT(routing.experts, ElementsAre(0, kDropped, 0, 2));
  EXPECT_THAT(routing.weights, ElementsAre(5, 0, 4.5F, 3));
  EXPECT_THAT(route(spec, {{5, 5, 0, 0}, {5, 0, 3, 0}}).experts, ElementsAre(0, 1, kDropped, 2))
      << "of equals the higher token goes first";
  spec.capacity.factor = 0.5;  // budget 1
  EXPECT_THAT(route(spec, {{5, 5, 0, 0}, {5, 0, 3, 0}}).experts,
              ElementsAre(0, kDropped, kDropped, 2))
      << "then the higher expert";
  spec.capacity.devices = 3;
  EXPECT_THAT(
      [&] {
        (void)route(spec, {{1, 2, 3, 4}});
      },
      Throws<std::invalid_argument>(
          Property(&std::invalid_argument::what,
                   HasSubstr("device-budget with 3 devices, want a divisor of 4 experts"))));
}

TEST(ReferenceCapacity, PhiloxGivesTheKnownAnswersOfItsAuthors) {
  // Random123 (D. E. Shaw Research), kat_vectors, philox4x32 10.
  EXPECT_THAT(reference::philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(
      reference::philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(
      reference::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(ReferenceCapacity, RecycleSendsTokensOfAFullExpertThroughAShuffledListOfFreeSlots) {
  // Two routing groups of 4 tokens, C = 1, all want expert 0: free slots 1, 2, 3 in each. The
  // shuffles were worked apart: seed 1 gives 1, 3, 2 and 1, 2, 3; seed 5 * 2^32 + 7 gives 1, 2, 3
  // and 3, 2, 1.
  RouterSpec spec = limited(1, 4, CapacityRule::kRecycle, 1);
  spec.capacity.group_tokens = 4;
  spec.capacity.seed = 1;
  const std::vector<std::vector<float>> logits(8, {9, 0.5F, 0.25F, 0.125F});
  const Routing routing = route(spec, logits);
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, 3, 2, 0, 1, 2, 3));
  EXPECT_THAT(routing.weights, ElementsAre(9, 0.5F, 0.125F, 0.25F, 9, 0.5F, 0.25F, 0.125F));
  spec.capacity.seed = (std::uint64_t{5} << 32U) + 7;
  EXPECT_THAT(route(spec, logits).experts, ElementsAre(0, 1, 2, 3, 0, 3, 2, 1));
  spec.normalize = Normalize::kSum;
  spec.scale = 2;
  EXPECT_THAT(route(spec, logits).weights, Each(2.0F));
  spec.normalize = Normalize::kNone;
  spec.weighting = Weighting::kSoftmaxOfChosen;  // over one
  EXPECT_THAT(route(spec, logits).weights, Each(2.0F));
}

TEST(ReferenceCapacity, RecycleDropsWhatTheListCannotHold) {
  // C = ceil(0.5 * 4 / 2) = 1: one free slot for three tokens.
  const Routing routing = route(limited(1, 2, CapacityRule::kRecycle, 0.5), all_to_one(4, 2));
  EXPECT_THAT(routing.experts, ElementsAre(0, 1, kDropped, kDropped));
  // The one free slot belongs to an expert that token 1 hides.
  const float hidden = -std::numeric_limits<float>::infinity();
  const Routing hides = route(limited(1, 2, CapacityRule::kRecycle, 1), {{1, 0}, {1, hidden}});
  EXPECT_THAT(hides.experts, ElementsAre(0, kDropped));
}

TEST(ReferenceCapacity, IdentityExpertsCountForNoCapacityAndAreNeverDropped) {
  for (const CapacityRule rule : {CapacityRule::kDeepspeedTop2, CapacityRule::kDeepspeedProbs,
                                  CapacityRule::kDeepspeedPosition, CapacityRule::kDeviceBudget}) {
    // C = ceil(0.5 * 2 * 2 / 2) = 1 for each of the routed experts 0 and 1; 2 and 3 are identities.
    RouterSpec spec = limited(2, 2, rule, 0.5);
    spec.identity = 2;
    spec.capacity.devices = 2;
    EXPECT_THAT(route(spec, {{0, 1, 3, 0}, {0, 1, 3, 0}}).experts, ElementsAre(2, 1, 2, kDropped));
  }
}

TEST(ReferenceCapacity, FactorZeroDropsNothingUnderAnyRule) {
  for (const CapacityRule rule :
       {CapacityRule::kDeepspeedTop2, CapacityRule::kDeepspeedProbs,
        CapacityRule::kDeepspeedPosition, CapacityRule::kFlaxformer, CapacityRule::kColossal,
        CapacityRule::kDeviceBudget, CapacityRule::kRecycle}) {
    const Routing routing = route(limited(2, 2, rule, 0), all_to_one(9, 2));
    EXPECT_EQ(kept(routing), 18);
    EXPECT_EQ(routing.weights[0], 2) << "weights stay as the router gave them";
  }
}

TEST(ReferenceCapacity, RulesThatDoNotFitAreRefused) {
  const auto expect_refused = [](const RouterSpec& spec, const std::string& message) {
    EXPECT_THAT(
        [&] {
          (void)route(spec, {{1, 2, 3}});
        },
        Throws<std::invalid_argument>(
            Property(&std::invalid_argument::what, HasSubstr("reference: " + message))));
  };
  expect_refused(limited(3, 3, CapacityRule::kDeepspeedTop2, 1), "deepspeed-top2 with k = 3");
  expect_refused(limited(2, 3, CapacityRule::kRecycle, 1), "recycle with k = 2, want 1");
  expect_refused(limited(2, 3, CapacityRule::kColossal, -1), "capacity factor is -1");
  expect_refused(limited(2, 3, CapacityRule::kColossal, std::nan("")), "capacity factor is nan");
}
}  // namespace
}  // namespace switchyard::experts
