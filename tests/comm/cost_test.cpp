// SPDX-License-Identifier: Apache-2.0
/// @file
/// Which exchange is chosen for which links, from given costs.
#include "comm/exchange/cost.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <vector>

namespace switchyard::comm {
namespace {
using ::testing::HasSubstr;

/// `nodes` of `each` ranks.
NodeMap map_of(int nodes, int each) {
  std::vector<int> leaders;
  for (int r = 0; r < nodes * each; ++r) leaders.push_back(r / each * each);
  return NodeMap::from_leaders(leaders);
}

RoundShape olmoe(double rows, double work_s) {
  return {.rows = rows, .copies = 8, .row_bytes = 8192, .places = 8, .work_s = work_s};
}

LinkCosts slow_links() {
  return {.latency_s = 1e-4, .bytes_per_s = 25e6, .long_bytes_per_s = 20e6, .message_s = 5e-6};
}

ExchangeChoice choose(const ExchangeOptions& options, double rows, double work_s) {
  return choose_exchange(map_of(4, 2), options, olmoe(rows, work_s), slow_links());
}

TEST(Cost, WireTimeOfOneStageIsTheDeduplicatedBytesOverTheLink) {
  // A row goes to each of 3 nodes with chance 1 - (3/4)^8 = 0.900, 6 of 8 results come back; two
  // ranks of 32 rows share a link: 64 * (2.700 + 6) * 8192 / 25e6 = 182 ms.
  LinkCosts links = slow_links();
  links.latency_s = links.message_s = 0;
  const double seconds =
      predict(map_of(4, 2), olmoe(32, 0), links, {.transport = "two-level", .stages = 1});
  EXPECT_NEAR(seconds, 64 * (3 * 0.89989 + 6) * 8192 / 25e6, 1e-4);
}

TEST(Cost, SlowLinksGetStagesAndTwoLevels) {
  const auto choice = choose({}, 32, 0.1);
  EXPECT_EQ(choice.options.transport, "two-level");
  EXPECT_EQ(choice.options.stages, 8);
  EXPECT_THAT(choice.why, HasSubstr("two-level in 8 stages"));
  EXPECT_THAT(choice.why, HasSubstr("25 MB/s"));
}

TEST(Cost, WhatIsGivenIsKept) {
  EXPECT_EQ(choose({.transport = "two-level"}, 32, 0).options.transport, "two-level");
  EXPECT_EQ(choose({.stages = 2}, 32, 0.1).options.stages, 2);
  const auto narrow = choose({.wire = WireType::kBfloat16}, 32, 0.1);
  EXPECT_EQ(narrow.options.wire, WireType::kBfloat16);
  EXPECT_EQ(narrow.options.transport, "two-level");
}

TEST(Cost, TheWireIsNeverNarrowedUnasked) {
  for (const double rows : {1.0, 32.0, 4096.0}) {
    EXPECT_EQ(choose({}, rows, 0.01).options.wire, WireType::kFloat32);
  }
}

TEST(Cost, StagesStopWhereARankHasNoMorePlaces) {
  RoundShape shape = olmoe(4096, 1);
  shape.places = 2;
  EXPECT_LE(choose_exchange(map_of(4, 2), {}, shape, slow_links()).options.stages, 2);
}

TEST(Cost, DearMessagesArgueAgainstManyStages) {
  LinkCosts links = slow_links();
  links.message_s = 1e-3;
  const auto choice =
      choose_exchange(map_of(4, 2), {.transport = "two-level"}, olmoe(1, 1e-3), links);
  EXPECT_EQ(choice.options.stages, 1);
}

TEST(Cost, ANarrowWireIsPredictedToTakeItsShareOfTheTime) {
  const auto seconds = [](WireType wire) {
    return predict(map_of(4, 2), olmoe(512, 0), slow_links(),
                   {.transport = "two-level", .stages = 1, .wire = wire});
  };
  EXPECT_NEAR(seconds(WireType::kFloat32) / seconds(WireType::kBfloat16), 2, 0.05);
  EXPECT_NEAR(seconds(WireType::kFloat32) / seconds(WireType::kInt8), 4, 0.1);
}
}  // namespace
}  // namespace switchyard::comm
