// SPDX-License-Identifier: Apache-2.0
// What a model asks of a cluster, against counting by hand and by brute force.
#include "runtime/sizing/sizing.hpp"

#include <bit>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

#include "runtime/sizing/cache.hpp"
#include "runtime/sizing/hits.hpp"

namespace switchyard::runtime {
namespace {

/// Share of all choices (k experts inside `kept` of `groups`) with one in `mine`, by looking at
/// all.
double counted(int experts, int k, int groups, int kept, std::uint32_t mine) {
  double hit = 0;
  double all = 0;
  const int size = experts / groups;
  for (std::uint32_t open = 0; open < (1U << groups); ++open) {
    if (std::popcount(open) != kept) continue;
    for (std::uint32_t chosen = 0; chosen < (1U << experts); ++chosen) {
      if (std::popcount(chosen) != k) continue;
      bool inside = true;
      for (int e = 0; e < experts; ++e) {
        inside = inside && ((chosen >> e & 1U) == 0 || (open >> (e / size) & 1U) == 1);
      }
      if (!inside) continue;
      all += 1;
      if ((chosen & mine) != 0) hit += 1;
    }
  }
  return hit / all;
}

TEST(UniformRouter, HitsAreThoseOfAllChoicesCounted) {
  struct Case {
    int experts, k, groups, kept;
    std::vector<std::int32_t> mine;
  };
  for (const Case& c :
       {Case{8, 2, 1, 1, {0, 1}}, Case{8, 3, 4, 2, {0, 1}}, Case{8, 3, 4, 2, {1, 2}},
        Case{12, 4, 3, 2, {0, 5, 11}}, Case{6, 6, 1, 1, {3}}, Case{12, 2, 6, 1, {4}},
        Case{8, 2, 2, 1, {0, 1, 2, 3, 4}}}) {
    std::uint32_t mask = 0;
    for (const std::int32_t expert : c.mine) mask |= 1U << static_cast<unsigned>(expert);
    const UniformRouter router(c.experts, c.k, c.groups, c.kept);
    EXPECT_NEAR(router.hits(c.mine), counted(c.experts, c.k, c.groups, c.kept, mask), 1e-12)
        << c.experts << " experts, " << c.k << " of them, " << c.groups << " groups";
  }
}

TEST(Sizing, MixtralOnEightRanksByHand) {
  const Model model = Model::preset("mixtral-8x7b");
  const SizingRequest request{.ranks = 8,
                              .nodes = 2,
                              .stored = experts::DType::kBfloat16,
                              .tokens = 100,
                              .sequences = 2,
                              .context = 1000};
  const Sizing sizing = size_up(model, request);
  EXPECT_EQ(sizing.memory.experts, 32LL * 176160768 * 2);  // one expert a layer
  EXPECT_EQ(sizing.memory.dense, (46702792704 - 32LL * 8 * 176160768) * 4);
  EXPECT_EQ(sizing.memory.always_on, 0);
  EXPECT_EQ(sizing.memory.cache, 2LL * 1000 * 32 * 2 * 8 * 128 * 4);
  EXPECT_EQ(sizing.traffic.row_bytes, 16384);
  EXPECT_NEAR(sizing.traffic.logical_rows, 100 * 2 * 7 / 8.0, 1e-9);
  EXPECT_NEAR(sizing.traffic.rows_a_rank, 100 * 7 * 2 / 8.0, 1e-9);  // one expert a rank: the same
  // Another node's four experts are all missed by C(4, 2) of C(8, 2) choices.
  EXPECT_NEAR(sizing.traffic.rows_a_node, 100 * (1 - 6 / 28.0), 1e-9);
  EXPECT_NEAR(sizing.traffic.crossing_rows, 100 * 4 * 2 / 8.0, 1e-9);
  EXPECT_NEAR(sizing.flops.experts, 100 * 32 * 2 * 2.0 * 176160768, 1);
}

TEST(Sizing, OneRankSendsNothingAndAnEmptyStepNeedsNoRows) {
  const Sizing sizing = size_up(Model::preset("olmoe"), {.ranks = 1, .tokens = 0});
  EXPECT_EQ(sizing.traffic.logical_rows, 0);
  EXPECT_EQ(sizing.traffic.rows_a_rank, 0);
  EXPECT_EQ(sizing.memory.buffers, 0);
  EXPECT_EQ(sizing.memory.cache, 0);
}

TEST(Sizing, MoreRanksThanExpertsLeaveSomeIdle) {
  const Sizing sizing = size_up(Model::preset("mixtral-8x7b"), {.ranks = 11, .tokens = 1});
  EXPECT_EQ(sizing.idle_ranks, 3);
  EXPECT_NEAR(sizing.traffic.logical_rows, 2, 1e-12);  // an idle rank sends everything
}

TEST(Sizing, NamesTheFewestRanksThatFit) {
  const Model model = Model::preset("deepseek-v3");
  const SizingRequest request{.stored = experts::DType::kInt8, .tokens = 1, .context = 0};
  const std::int64_t limit = 160LL << 30;
  const auto fewest = fewest_ranks(model, request, limit);
  ASSERT_TRUE(fewest.has_value());
  SizingRequest at = request;
  at.ranks = *fewest;
  EXPECT_LE(size_up(model, at).memory.total(), limit);
  at.ranks = *fewest - 1;
  EXPECT_GT(size_up(model, at).memory.total(), limit);
  EXPECT_FALSE(fewest_ranks(model, request, 1 << 30).has_value());
}

TEST(Sizing, CachesFollowWhatEachMixerRemembers) {
  const std::int64_t context = 10000;
  EXPECT_EQ(cache_elements(Model::preset("deepseek-v3"), context), 61 * context * (512 + 64));
  EXPECT_EQ(cache_elements(Model::preset("glm-5"), context), 78 * context * (512 + 64 + 128));
  // Every second layer owns keys and values.
  EXPECT_EQ(cache_elements(Model::preset("hunyuan-large"), context), 32 * context * 2 * 8 * 80);
  // Four layers of attention, 28 with a state.
  EXPECT_EQ(cache_elements(Model::preset("jamba"), context),
            4 * context * 2 * 8 * 128 + 28 * 8192 * (3 + 16));
}

TEST(Sizing, TheCurveMeetsTheModelAndGrowsByItsExperts) {
  const Model model = Model::preset("mixtral-8x7b");
  const auto points = over_experts(model);
  ASSERT_GE(points.size(), 4U);
  EXPECT_EQ(points.back().experts, 32);
  for (const auto& [experts, parameters] : points) {
    EXPECT_EQ(parameters.total,
              46702792704 + 32 * (experts - 8) * (std::int64_t{176160768} + 4096));
    EXPECT_EQ(parameters.active, 12879925248 + 32 * (experts - 8) * 4096);
  }
}
}  // namespace
}  // namespace switchyard::runtime
