// SPDX-License-Identifier: Apache-2.0
/// @file
/// Tests that fail on purpose, one rank at a time: what harness_test runs mpi_main.cpp with.
#include <gtest/gtest.h>
#include <mpi.h>
#include <stdexcept>

namespace {
int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

TEST(Subject, Passes) {
  SUCCEED();
}

TEST(Subject, FailsOnRankOne) {
  EXPECT_NE(world_rank(), 1) << "this is the odd one";
}

TEST(Subject, AssertsOnRankOneWhileTheOthersWait) {
  ASSERT_NE(world_rank(), 1) << "left early";
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST(Subject, ThrowsOnRankOneWhileTheOthersWait) {
  if (world_rank() == 1) throw std::runtime_error("thrown early");
  MPI_Barrier(MPI_COMM_WORLD);
}
}  // namespace
