// SPDX-License-Identifier: Apache-2.0
#include "experts/synthetic.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <vector>

#include "experts/kernels/dispatch.hpp"

namespace switchyard::experts {
namespace {

using Words = std::array<std::uint32_t, 4>;

std::vector<float> uniform(std::uint64_t seed, std::uint32_t layer, std::int64_t id, Stream stream,
                           std::int64_t first, std::size_t count, float amplitude = 1.0F) {
  std::vector<float> out(count);
  fill_uniform(seed, layer, id, stream, first, amplitude, out);
  return out;
}

TEST(Philox, GivesTheKnownAnswersOfItsAuthors) {  // Random123, kat_vectors, philox4x32 10
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  constexpr std::uint32_t kOnes = 0xffffffffU;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}));
  EXPECT_EQ(
      philox({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, {0xa4093822U, 0x299f31d0U}),
      (Words{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}));
}

TEST(Uniform, EveryElementIsWhatTheSpecificationSays) {
  const std::uint64_t seed = 0x0123456789abcdefULL;
  for (const std::int64_t first :
       {std::int64_t{0}, std::int64_t{3}, std::int64_t{4} << 32U, (std::int64_t{4} << 40U) - 5}) {
    const auto got = uniform(seed, 7, 4'000'000'000, Stream::kDown, first, 71, 0.3F);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const auto element = static_cast<std::uint64_t>(first) + i;
      const std::uint64_t block = element / 4;
      const auto low = static_cast<std::uint32_t>(block);
      const auto high = static_cast<std::uint32_t>(block >> 32U) << 8U;
      const Words words = philox({low, 7, 4'000'000'000U, high | 9U}, {0x89abcdefU, 0x01234567U});
      const auto word = static_cast<std::int32_t>(words[element % 4]);
      EXPECT_EQ(got[i], 0.3F * (static_cast<float>(word >> 8) * 0x1p-23F)) << element;
    }
  }
}

TEST(Uniform, TheWorkedValueOfTheReadmeIsRight) {
  EXPECT_EQ(uniform(1, 0, 3, Stream::kGate, 6, 1)[0], 2206088.0F / 8388608.0F);
}

TEST(Uniform, EveryInstructionSetMakesTheSameNumbers) {
  panel::Uniform u;
  u.key[0] = 42;
  u.layer = 3;
  u.id = 99;
  u.stream = 6;
  u.block = (std::uint64_t{1} << 32U) - 9;  // the low word of the counter wraps on the way
  u.amplitude = 0.7F;
  for (std::int64_t blocks = 1; blocks < 40; ++blocks) {
    u.blocks = blocks;
    std::vector<float> want(static_cast<std::size_t>(4 * blocks) + 1, -5.0F);
    u.out = want.data();
    kernels_of(Isa::kPortable).fill(u);
    for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
      if (best_isa() < isa) continue;
      std::vector<float> got(want.size(), -5.0F);
      u.out = got.data();
      kernels_of(isa).fill(u);
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0) << name_of(isa);
    }
  }
}

TEST(Uniform, APieceIsTheSameAsThatPartOfTheWhole) {
  const auto whole = uniform(5, 1, 2, Stream::kUp, 0, 100);
  for (std::int64_t first = 0; first < 12; ++first) {
    for (std::size_t count = 0; count < 20; ++count) {
      const auto piece = uniform(5, 1, 2, Stream::kUp, first, count);
      EXPECT_TRUE(std::equal(piece.begin(), piece.end(), whole.begin() + first));
    }
  }
}

TEST(Uniform, SeedLayerIdAndStreamEachChangeTheNumbers) {
  const auto base = uniform(5, 1, 2, Stream::kUp, 0, 8);
  EXPECT_NE(base, uniform(6, 1, 2, Stream::kUp, 0, 8));
  EXPECT_NE(base, uniform(5 + (1ULL << 32U), 1, 2, Stream::kUp, 0, 8));
  EXPECT_NE(base, uniform(5, 2, 2, Stream::kUp, 0, 8));
  EXPECT_NE(base, uniform(5, 1, 3, Stream::kUp, 0, 8));
  EXPECT_NE(base, uniform(5, 1, 2, Stream::kDown, 0, 8));
}

TEST(Uniform, NumbersAreInRangeAndHaveTheMomentsOfTheirDistribution) {
  const auto numbers = uniform(1, 0, 0, Stream::kTokens, 0, 1'000'000);
  double sum = 0;
  double squares = 0;
  for (const float u : numbers) {
    ASSERT_GE(u, -1.0F);
    ASSERT_LT(u, 1.0F);
    sum += static_cast<double>(u);
    squares += static_cast<double>(u) * static_cast<double>(u);
  }
  EXPECT_NEAR(sum / 1e6, 0.0, 5 * 0.00058);  // five standard errors
  EXPECT_NEAR(squares / 1e6, 1.0 / 3, 5 * 0.0003);
}

TEST(Uniform, WhatDoesNotFitTheCounterIsRefused) {
  EXPECT_THROW(uniform(1, 0, -1, Stream::kUp, 0, 4), std::invalid_argument);
  EXPECT_THROW(uniform(1, 0, std::int64_t{1} << 32U, Stream::kUp, 0, 4), std::invalid_argument);
  EXPECT_THROW(uniform(1, 0, 0, Stream::kUp, -1, 4), std::invalid_argument);
  EXPECT_THROW(uniform(1, 0, 0, Stream::kUp, (std::int64_t{1} << 58U) - 2, 4),
               std::invalid_argument);
}

TEST(Tokens, DependOnTheirGlobalNumberAndStepOnly) {
  Matrix all(9, 5);
  Matrix some(4, 5);
  fill_tokens(3, 2, 10, all.view());
  fill_tokens(3, 2, 13, some.view());
  EXPECT_EQ(std::memcmp(some.data(), all.row(3).data(), 20 * sizeof(float)), 0);
  fill_tokens(3, 1, 13, some.view());
  EXPECT_NE(std::memcmp(some.data(), all.row(3).data(), 20 * sizeof(float)), 0);
  Matrix many(100, 1000);
  fill_tokens(3, 0, 0, many.view());
  const double squares = std::inner_product(many.data(), many.data() + 100'000, many.data(), 0.0);
  EXPECT_NEAR(squares / 1e5, 1.0, 0.02);
}

BlockSpec small_block() {
  BlockSpec block;
  block.router.hidden = 6;
  block.router.experts = 4;
  block.router.identity = 1;
  block.router.top_k = 2;
  block.expert = {Unit::kTrilinear, Activation::kSilu, 6, 5, true};
  block.shared = ExpertSpec{Unit::kGated, Activation::kSilu, 6, 7};
  block.shared_gate = SharedGate::kSigmoid;
  block.dense = ExpertSpec{Unit::kPlain, Activation::kRelu, 6, 3};
  block.output_bias = true;
  return block;
}

TEST(Source, EveryTensorHasItsShapeAndItsStream) {
  SyntheticSource source(small_block(), 11, 2, true, true);
  const ExpertTensors expert = source.expert(3);
  EXPECT_EQ(expert.linear.out, 5);
  EXPECT_EQ(expert.linear.in, 6);
  const float gain = static_cast<float>(std::sqrt(3.0 / 6));
  EXPECT_EQ(expert.gate.at(1, 2), uniform(11, 2, 3, Stream::kGate, 8, 1, gain)[0]);
  EXPECT_EQ(expert.up.at(4, 5), uniform(11, 2, 3, Stream::kUp, 29, 1, gain)[0]);
  EXPECT_EQ(expert.linear.at(0, 1), uniform(11, 2, 3, Stream::kLinear, 1, 1, gain)[0]);
  EXPECT_EQ(expert.down.at(5, 4),
            uniform(11, 2, 3, Stream::kDown, 29, 1, static_cast<float>(std::sqrt(3.0 / 5)))[0]);
  EXPECT_EQ(expert.gate_bias, uniform(11, 2, 3, Stream::kGateBias, 0, 5, 0.5F));
  EXPECT_EQ(expert.up_bias, uniform(11, 2, 3, Stream::kUpBias, 0, 5, 0.5F));
  EXPECT_EQ(expert.down_bias, uniform(11, 2, 3, Stream::kDownBias, 0, 6, 0.5F));
  const RouterTensors router = source.router();
  EXPECT_EQ(router.weight.out, 5);  // the identity expert is scored too
  EXPECT_EQ(router.weight.at(4, 0), uniform(11, 2, 0, Stream::kRouter, 24, 1, gain)[0]);
  EXPECT_TRUE(router.second.empty());
  EXPECT_EQ(router.bias, uniform(11, 2, 0, Stream::kRouterBias, 0, 5, 0.5F));
  EXPECT_EQ(router.selection_bias, uniform(11, 2, 0, Stream::kSelectionBias, 0, 5, 0.1F));
  EXPECT_EQ(source.shared().up.at(0, 0), uniform(11, 2, kSharedId, Stream::kUp, 0, 1, gain)[0]);
  EXPECT_TRUE(source.shared().gate_bias.empty());
  EXPECT_EQ(source.shared_gate().at(0, 3),
            uniform(11, 2, kSharedId, Stream::kSharedGate, 3, 1, gain)[0]);
  EXPECT_TRUE(source.dense().gate.empty());
  EXPECT_EQ(source.dense().up.at(2, 0), uniform(11, 2, kDenseId, Stream::kUp, 12, 1, gain)[0]);
  EXPECT_EQ(source.output_bias(), uniform(11, 2, 0, Stream::kOutputBias, 0, 6, 0.5F));
  EXPECT_THROW(static_cast<void>(source.expert(4)), std::invalid_argument);
}

TEST(Source, RoutersOfTwoAndThreeMatricesGetThem) {
  BlockSpec block = small_block();
  block.router.logits = Logits::kMlpTanh;
  EXPECT_EQ(SyntheticSource(block, 1, 0, false, false).router().second.in, 5);
  block.router.logits = Logits::kAttention;
  const RouterTensors router = SyntheticSource(block, 1, 0, false, false).router();
  EXPECT_EQ(router.second.in, 6);
  EXPECT_EQ(router.third.out, 5);
  EXPECT_NE(router.third.at(0, 0), router.weight.at(0, 0));
  EXPECT_TRUE(router.bias.empty());
}

RouterSpec router_of(std::int64_t experts, std::int64_t top_k) {
  RouterSpec spec;
  spec.hidden = 8;
  spec.experts = experts;
  spec.top_k = top_k;
  return spec;
}

TEST(Routing, EveryTokenGetsDistinctExpertsAndEqualWeights) {
  for (const std::int64_t k : {1, 3, 8}) {
    const Routing routing = synthetic_routing(router_of(8, k), 1.2, 5, 0, 0, 0, 500);
    ASSERT_EQ(routing.tokens(), 500);
    for (std::int64_t t = 0; t < 500; ++t) {
      const auto first = routing.experts.begin() + t * k;
      std::vector<std::int32_t> chosen(first, first + k);
      std::sort(chosen.begin(), chosen.end());
      EXPECT_EQ(std::adjacent_find(chosen.begin(), chosen.end()), chosen.end());
      EXPECT_GE(chosen.front(), 0);
      EXPECT_LT(chosen.back(), 8);
    }
    for (const float weight : routing.weights) EXPECT_EQ(weight, 1.0F / static_cast<float>(k));
  }
}

TEST(Routing, IsKeyedByGlobalToken) {
  const RouterSpec spec = router_of(64, 8);
  const Routing all = synthetic_routing(spec, 0.8, 5, 3, 1, 0, 100);
  const Routing part = synthetic_routing(spec, 0.8, 5, 3, 1, 40, 20);
  EXPECT_TRUE(std::equal(part.experts.begin(), part.experts.end(), all.experts.begin() + 320));
  EXPECT_NE(all.experts, synthetic_routing(spec, 0.8, 5, 4, 1, 0, 100).experts);
  EXPECT_NE(all.experts, synthetic_routing(spec, 0.8, 5, 3, 2, 0, 100).experts);
  EXPECT_NE(all.experts, synthetic_routing(spec, 0.8, 6, 3, 1, 0, 100).experts);
}

TEST(Routing, FirstChoicesFollowTheZipfShares) {
  const std::int64_t tokens = 200'000;
  for (const double exponent : {0.0, 0.8, 2.0}) {
    const Routing routing = synthetic_routing(router_of(10, 2), exponent, 1, 0, 0, 0, tokens);
    std::vector<double> seen(10);
    std::vector<double> pairs(10);  // second choices of those whose first was expert 0
    for (std::size_t t = 0; t < static_cast<std::size_t>(tokens); ++t) {
      seen[static_cast<std::size_t>(routing.experts[2 * t])] += 1;
      if (routing.experts[2 * t] == 0)
        pairs[static_cast<std::size_t>(routing.experts[2 * t + 1])] += 1;
    }
    double total = 0;
    for (int e = 1; e <= 10; ++e) total += std::pow(e, -exponent);
    for (std::size_t e = 0; e < 10; ++e) {
      const double share = std::pow(static_cast<double>(e + 1), -exponent) / total;
      const double want = share * static_cast<double>(tokens);
      EXPECT_NEAR(seen[e], want, 5 * std::sqrt(want)) << "expert " << e;
      if (e == 0) continue;
      const double after = seen[0] * share / (1 - 1 / total);
      EXPECT_NEAR(pairs[e], after, 5 * std::sqrt(after)) << "second choice " << e;
    }
    EXPECT_EQ(pairs[0], 0);
  }
}

TEST(Routing, AllExpertsOfASteepDistributionComeOut) {
  const Routing routing = synthetic_routing(router_of(256, 256), 40.0, 1, 0, 0, 0, 20);
  for (std::int64_t t = 0; t < 20; ++t) {
    std::vector<std::int32_t> all(routing.experts.begin() + t * 256,
                                  routing.experts.begin() + (t + 1) * 256);
    std::sort(all.begin(), all.end());
    for (std::int32_t e = 0; e < 256; ++e) ASSERT_EQ(all[static_cast<std::size_t>(e)], e);
  }
}

TEST(Routing, ImpossibleRequestsAreRefusedByName) {
  const auto message = [](std::int64_t k, double exponent, std::int64_t step) -> std::string {
    try {
      static_cast<void>(synthetic_routing(router_of(8, k), exponent, 1, step, 0, 0, 4));
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(9, 0, 0), "synthetic: top_k is 9, want 1 to 8");
  EXPECT_THAT(message(1, -1, 0), testing::StartsWith("synthetic: exponent is -1"));
  EXPECT_EQ(message(1, 0, -1), "synthetic: step is -1, want 0 to 4294967295");
}
}  // namespace
}  // namespace switchyard::experts
