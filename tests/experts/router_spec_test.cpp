// SPDX-License-Identifier: Apache-2.0
// What a router may be asked to do: refusals and descriptions.
#include <cmath>
#include <functional>
#include <gtest/gtest.h>

#include "tests/experts/router_helpers.hpp"

namespace switchyard::experts::test {
namespace {

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
