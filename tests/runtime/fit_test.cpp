// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fit.hpp"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard::runtime {
namespace {
using testing::DoubleNear;

/// What a machine with this tier would have measured.
std::vector<MessageTime> measured_on(const TierCost& cost) {
  std::vector<MessageTime> times;
  for (std::int64_t bytes = 64; bytes <= 4 << 20; bytes *= 4) {
    const double latency = cost.latency_of(bytes);
    const double wire = static_cast<double>(bytes) / cost.bandwidth_of(bytes);
    const double paid = std::max(0.0, static_cast<double>(bytes) - cost.burst_bytes);
    const double both = cost.half_duplex ? 2 : cost.exchange_ratio;
    times.push_back({.bytes = bytes,
                     .one_way_s = latency + paid / cost.bandwidth_of(bytes),
                     .exchange_s = latency + both * wire,
                     .stream_s = bytes == 4 << 20 ? wire : 0});
  }
  return times;
}

TEST(Fit, FindsLatencyAndBandwidthOfAPlainTier) {
  const TierCost made{.latency_s = 2e-6, .bytes_per_s = 12.5e9};
  const TierCost cost = fit_tier(measured_on(made));
  EXPECT_THAT(cost.latency_s / made.latency_s, DoubleNear(1, 0.01));
  EXPECT_THAT(cost.bytes_per_s / made.bytes_per_s, DoubleNear(1, 0.01));
  EXPECT_TRUE(cost.steps.empty());
  EXPECT_FALSE(cost.half_duplex);
  for (const Residual& residual : residuals_of(measured_on(made), cost, "rack")) {
    EXPECT_THAT(residual.error(), DoubleNear(0, 0.01)) << residual.what;
  }
}

TEST(Fit, FindsWhereTheProtocolChanges) {
  const TierCost made{.latency_s = 2e-6,
                      .bytes_per_s = 10e9,
                      .steps = {{.from_bytes = 16384, .latency_factor = 4}}};
  const TierCost cost = fit_tier(measured_on(made));
  ASSERT_FALSE(cost.steps.empty());
  EXPECT_EQ(cost.steps.front().from_bytes, 16384);
  EXPECT_THAT(cost.latency_of(16384) / 8e-6, DoubleNear(1, 0.01));
  for (const Residual& residual : residuals_of(measured_on(made), cost, "rack")) {
    EXPECT_THAT(residual.error(), DoubleNear(0, kStepError)) << residual.what;
  }
}

TEST(Fit, HalfDuplexIsWhereExchangesOfEverySizeTakeTwice) {
  TierCost made{.latency_s = 1e-4, .bytes_per_s = 5e6};
  EXPECT_FALSE(fit_tier(measured_on(made)).half_duplex);
  made.half_duplex = true;
  EXPECT_TRUE(fit_tier(measured_on(made)).half_duplex);
  EXPECT_EQ(fit_tier(measured_on(made)).exchange_ratio, 1);
  // A protocol that serialises long messages only is no wire that both directions share.
  auto times = measured_on(made);
  times[5].exchange_s = times[5].one_way_s;
  EXPECT_FALSE(fit_tier(times).half_duplex);
  EXPECT_GT(fit_tier(times).exchange_ratio, 1.5);
}

TEST(Fit, AnExchangeBetweenOnceAndTwiceIsARatioOfItsOwn) {
  const TierCost made{.latency_s = 1e-4, .bytes_per_s = 5e6, .exchange_ratio = 1.4};
  const TierCost cost = fit_tier(measured_on(made));
  EXPECT_FALSE(cost.half_duplex);
  EXPECT_THAT(cost.exchange_ratio, DoubleNear(1.4, 0.03));
}

TEST(Fit, WhatPassesAtOnceIsABurstAndNoBandwidth) {
  const TierCost made{.latency_s = 1e-5, .bytes_per_s = 5e6, .burst_bytes = 65536};
  const auto times = measured_on(made);
  const TierCost cost = fit_tier(times);
  EXPECT_THAT(cost.bytes_per_s / made.bytes_per_s, DoubleNear(1, 0.01));
  EXPECT_THAT(cost.burst_bytes / made.burst_bytes, DoubleNear(1, 0.03));
  EXPECT_TRUE(cost.steps.empty());
  for (const Residual& residual : residuals_of(times, cost, "rack")) {
    if (residual.what.ends_with("exchanged")) continue;  // too short ones have it all in the burst
    EXPECT_THAT(residual.error(), DoubleNear(0, kStepError)) << residual.what;
  }
}

TEST(Fit, EverySecondSizeIsKeptApartAsACheck) {
  auto times = measured_on({.latency_s = 1e-6, .bytes_per_s = 1e9});
  const TierCost before = fit_tier(times);
  times[3].one_way_s *= 10;
  const TierCost after = fit_tier(times);
  EXPECT_EQ(after.latency_s, before.latency_s);
  EXPECT_TRUE(after.steps.empty());
  const Residual residual = residuals_of(times, after, "rack")[6];
  EXPECT_EQ(residual.what, "rack, 4096 bytes one way");
  EXPECT_FALSE(residual.used);
  EXPECT_THAT(residual.error(), DoubleNear(-0.9, 0.01));
}

TEST(Fit, ALongestMessageThatWasLuckyGivesNoEndlessBandwidth) {
  auto times = measured_on({.latency_s = 1e-6, .bytes_per_s = 1e9});
  times.back().one_way_s = times[times.size() - 3].one_way_s;
  const TierCost cost = fit_tier(times);
  EXPECT_TRUE(std::isfinite(cost.bytes_per_s));
  EXPECT_GT(cost.bytes_per_s, 0);
  EXPECT_THROW((void)fit_tier({times[0], times[1]}), std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::runtime
