// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/sampler.hpp"

#include <array>
#include <cmath>
#include <gmock/gmock.h>
#include <limits>
#include <map>
#include <vector>

#include "experts/synthetic.hpp"

namespace switchyard::runtime {
namespace {
using testing::HasSubstr;
constexpr float kNever = -std::numeric_limits<float>::infinity();

/// The number in [0, 1) of experts/README.md, from its words.
double drawn(std::uint64_t seed, std::uint32_t sequence, std::uint64_t position) {
  const auto words =
      experts::philox({static_cast<std::uint32_t>(position), 0, sequence,
                       static_cast<std::uint32_t>(position >> 32U) * 256 + 17},
                      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U)});
  const std::uint64_t bits = std::uint64_t{words[0]} << 32U | words[1];
  return std::floor(static_cast<double>(bits >> 11U)) / 9007199254740992.0;
}

/// Logits whose softmax is these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

TEST(Sampler, ZeroTemperatureTakesTheLargestAndTheLowestOfEquals) {
  const std::vector<float> logits{1, 3, kNever, 3, 2};
  EXPECT_EQ(sample(logits, {}, 0, 0), 1);
  EXPECT_EQ(sample(logits, {.temperature = 5, .top_k = 1}, 9, 9), 1);
  EXPECT_EQ(sample(std::vector<float>{kNever, -4}, {}, 0, 0), 1);
}

TEST(Sampler, TheDrawIsWhereTheSpecifiedNumberFalls) {
  const std::vector<double> p{0.5, 0.125, 0.25, 0.125};
  const auto logits = logits_of(p);
  for (std::uint32_t sequence = 0; sequence < 20; ++sequence) {
    for (const std::uint64_t position : {0ULL, 1ULL, 77ULL, 0x123456789ULL}) {
      const std::uint64_t seed = 0xABCDEF0123456789ULL + sequence;
      const double u = drawn(seed, sequence, position);
      const std::int64_t want = u < 0.5 ? 0 : u < 0.625 ? 1 : u < 0.875 ? 2 : 3;
      EXPECT_EQ(sample(logits, {.temperature = 1, .seed = seed}, sequence,
                       static_cast<std::int64_t>(position)),
                want);
    }
  }
}

/// Counts of `draws` draws at consecutive positions.
std::map<std::int64_t, int> counts(const std::vector<float>& logits,
                                   const SamplerSettings& settings, int draws) {
  std::map<std::int64_t, int> result;
  for (int i = 0; i < draws; ++i) ++result[sample(logits, settings, 3, i)];
  return result;
}

/// Pearson's statistic against the expected shares.
double chi_squared(const std::map<std::int64_t, int>& got,
                   const std::map<std::int64_t, double>& shares, int draws) {
  double sum = 0;
  for (const auto& [id, share] : shares) {
    const double want = share * draws;
    const double off = (got.contains(id) ? got.at(id) : 0) - want;
    sum += off * off / want;
  }
  return sum;
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const auto logits = logits_of({0.4, 0.1, 0.2, 0.3});
  const auto got = counts(logits, {.temperature = 1, .seed = 7}, 20000);
  // 16.27 is exceeded once in a thousand at three degrees of freedom.
  EXPECT_LT(chi_squared(got, {{0, 0.4}, {1, 0.1}, {2, 0.2}, {3, 0.3}}, 20000), 16.27);
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  // p^(1/T), normalized: 0.8 and 0.2 at T = 2 are 2/3 and 1/3; at T = 1/2 they are 16/17 and 1/17.
  const auto logits = logits_of({0.8, 0.2});
  EXPECT_LT(chi_squared(counts(logits, {.temperature = 2, .seed = 7}, 20000),
                        {{0, 2.0 / 3}, {1, 1.0 / 3}}, 20000),
            10.83);
  EXPECT_LT(chi_squared(counts(logits, {.temperature = 0.5, .seed = 7}, 20000),
                        {{0, 16.0 / 17}, {1, 1.0 / 17}}, 20000),
            10.83);
}

TEST(Sampler, TopKKeepsTheBestAndTheLowestOfEquals) {
  const auto logits = logits_of({0.1, 0.2, 0.2, 0.4, 0.1});
  const auto two = counts(logits, {.temperature = 1, .top_k = 2}, 20000);
  EXPECT_EQ(two.size(), 2U);
  EXPECT_LT(chi_squared(two, {{3, 2.0 / 3}, {1, 1.0 / 3}}, 20000), 10.83);
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_k = 99}, 500).size(), 5U);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  const auto logits = logits_of({0.15, 0.5, 0.05, 0.3});
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_p = 0.4}, 500).size(), 1U);
  const auto two = counts(logits, {.temperature = 1, .top_p = 0.7}, 20000);
  EXPECT_EQ(two.size(), 2U);
  EXPECT_LT(chi_squared(two, {{1, 0.625}, {3, 0.375}}, 20000), 10.83);
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_p = 0.9}, 2000).size(), 3U);
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_p = 1}, 5000).size(), 4U);
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_p = 1e-300}, 50).size(), 1U);
}

TEST(Sampler, TopPCountsWhatTopKLeft) {
  // Of 0.4 and 0.2 the first is two thirds: enough for 0.6.
  const auto logits = logits_of({0.4, 0.2, 0.2, 0.2});
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_k = 2, .top_p = 0.6}, 500).size(), 1U);
  EXPECT_EQ(counts(logits, {.temperature = 1, .top_p = 0.6}, 500).size(), 2U);
}

TEST(Sampler, SeedSequenceAndPositionEachChangeTheDraw) {
  const std::vector<float> flat(1000, 0.0F);
  const SamplerSettings settings{.temperature = 1, .seed = 1};
  const std::int64_t one = sample(flat, settings, 0, 0);
  EXPECT_EQ(sample(flat, settings, 0, 0), one);
  EXPECT_NE(sample(flat, settings, 1, 0), one);
  EXPECT_NE(sample(flat, settings, 0, 1), one);
  EXPECT_NE(sample(flat, {.temperature = 1, .seed = 2}, 0, 0), one);
}

TEST(Sampler, ATokenAtMinusInfinityIsNeverDrawn) {
  const std::vector<float> logits{kNever, 0, kNever, 0};
  for (const auto& [id, count] : counts(logits, {.temperature = 100}, 500)) {
    EXPECT_TRUE(id == 1 || id == 3) << id << " " << count;
  }
}

TEST(Sampler, LogitsThatAreNoNumbersAreRefusedByPlace) {
  const auto refusal = [](const std::vector<float>& logits) -> std::string {
    try {
      static_cast<void>(sample(logits, {}, 2, 5));
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(refusal({0, std::nanf("")}),
              HasSubstr("logits of sequence 2, position 5: token 1, got nan"));
  EXPECT_THAT(refusal({0, -kNever}), HasSubstr("token 1, got inf"));
  EXPECT_THAT(refusal({kNever, kNever}), HasSubstr("got none above -inf"));
}

TEST(SamplerSettings, OutOfRangeAreRefused) {
  EXPECT_NO_THROW(validate(SamplerSettings{}));
  for (const SamplerSettings& bad :
       {SamplerSettings{.temperature = -0.1}, SamplerSettings{.temperature = std::nan("")},
        SamplerSettings{.top_k = -1}, SamplerSettings{.top_p = 0}, SamplerSettings{.top_p = 1.1},
        SamplerSettings{.top_p = std::nan("")}}) {
    EXPECT_THROW(validate(bad), std::invalid_argument);
  }
}
}  // namespace
}  // namespace switchyard::runtime
