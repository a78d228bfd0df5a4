// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/calibrate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/group/mpi_group.hpp"

namespace switchyard::runtime {
namespace {
using testing::HasSubstr;

CalibrateSettings quick() {
  CalibrateSettings settings;
  settings.name = "here";
  settings.source = "a test";
  settings.most_bytes = 1 << 16;
  settings.seconds = 1e-3;
  settings.kernels.expert = {.hidden = 64, .width = 32};
  settings.kernels.weights = {experts::DType::kFloat32};
  settings.kernels.maths = {experts::Math::kFloat32};
  settings.kernels.rows = {1, 4};
  settings.kernels.cold_bytes = 1 << 20;
  settings.kernels.budget = {.seconds = 0.01, .least = 2, .most = 4};
  return settings;
}

TEST(Calibrate, DescribesOneNodeAndReadsItBack) {
  const auto group = comm::MpiGroup::world();
  const Calibration result = calibrate(*group, quick(), {});
  const Machine& machine = result.machine;
  EXPECT_EQ(machine.nodes, 1);
  EXPECT_EQ(machine.ranks_per_node, group->size());
  EXPECT_GT(machine.expert_seconds(experts::DType::kFloat32, 64, 32, 4), 0);
  EXPECT_GT(machine.expert_seconds(experts::DType::kFloat32, 128, 32, 4), 0);
  if (group->size() == 1) return;
  const TierCost& inside = machine.cost(Tier::kNode);
  EXPECT_GT(inside.latency_s, 0);
  EXPECT_LT(inside.latency_s, 1);
  EXPECT_LT(inside.bytes_per_s, 1e12);
  EXPECT_GT(result.exchange_ratio, 0);
  EXPECT_FALSE(result.residuals.empty());
}

TEST(Calibrate, RanksThatPlayNodesMeasureWhatIsBetweenThem) {
  const auto group = comm::MpiGroup::world();
  if (group->size() == 1) GTEST_SKIP() << "one rank has nothing between nodes";
  group->play_nodes(1);
  CalibrateSettings settings = quick();
  settings.kernels.rows.clear();
  settings.processors = 2;
  const Calibration result = calibrate(*group, settings, {});
  EXPECT_EQ(result.machine.nodes, group->size());
  EXPECT_EQ(result.machine.processors, 2);
  EXPECT_TRUE(result.machine.rates.empty());
  EXPECT_LT(result.machine.cost(Tier::kRack).bytes_per_s, 1e12);
  EXPECT_THAT(result.residuals.front().what, HasSubstr("rack, 64 bytes one way"));
  EXPECT_EQ(result.machine.with_ranks(8).nodes, 8);
}
}  // namespace
}  // namespace switchyard::runtime
