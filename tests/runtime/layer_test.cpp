// SPDX-License-Identifier: Apache-2.0
// The layer over MPI: bits, counts and ways to be called. The laws themselves are fuzzed by
// `verify laws`; here stand the cases that have a name.
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <mpi.h>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "comm/group/mpi_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/run/token_source.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;
using testing::HasSubstr;

experts::BlockSpec block_of(std::int64_t hidden, std::int64_t width, std::int64_t experts,
                            std::int64_t top_k) {
  experts::BlockSpec block;
  block.router.hidden = block.expert.hidden = hidden;
  block.expert.width = width;
  block.router.experts = experts;
  block.router.top_k = top_k;
  return block;
}

class Layer : public testing::Test {
 protected:
  std::unique_ptr<comm::MpiGroup> group_ = comm::MpiGroup::world();

  /// This rank's part of `total` seeded tokens, through a layer.
  Matrix forward(const experts::BlockSpec& block, std::int64_t total, const Placement& placement,
                 const LayerOptions& options = {}) {
    const auto share = share_of(total, group_->rank(), group_->size());
    Matrix tokens(share.count, block.router.hidden);
    experts::fill_tokens(7, 0, share.first, tokens.view());
    experts::SyntheticSource source(block, 7, 0, false, false);
    MoeLayer layer(*group_, block, source, placement, options);
    return layer.forward(tokens.view());
  }

  /// The same tokens on one rank that knows nobody.
  Matrix alone(const experts::BlockSpec& block, std::int64_t total) {
    const auto share = share_of(total, group_->rank(), group_->size());
    const auto solo = comm::solo_group();
    Matrix tokens(share.count, block.router.hidden);
    experts::fill_tokens(7, 0, share.first, tokens.view());
    experts::SyntheticSource source(block, 7, 0, false, false);
    MoeLayer layer(*solo, block, source, Placement::linear(block.router.experts, 1));
    return layer.forward(tokens.view());
  }

  static void expect_same_bits(const Matrix& got, const Matrix& want) {
    ASSERT_EQ(got.rows(), want.rows());
    ASSERT_EQ(got.cols(), want.cols());
    if (want.rows() == 0) return;  // no address either
    EXPECT_EQ(std::memcmp(got.data(), want.data(),
                          static_cast<std::size_t>(got.rows() * got.cols()) * sizeof(float)),
              0);
  }
};

TEST_F(Layer, HasTheBitsOfOneRank) {
  const auto block = block_of(48, 40, 11, 3);
  expect_same_bits(forward(block, 101, Placement::linear(11, group_->size())), alone(block, 101));
}

TEST_F(Layer, HasTheSameBitsInChunksWithThreadsAndOverAlltoallv) {
  const auto block = block_of(33, 70, 5, 2);
  LayerOptions options;
  options.chunk_tokens = 3;
  options.threads = 3;
  options.transport = "alltoallv";
  expect_same_bits(forward(block, 64, Placement::round_robin(5, group_->size()), options),
                   alone(block, 64));
}

TEST_F(Layer, PresummedStaysCloseAndSendsOneResultATokenAndRank) {
  auto block = block_of(48, 40, 11, 5);
  block.router.identity = 2;
  const auto placement = Placement::round_robin(11, group_->size());
  for (const char* transport : {"p2p", "node"}) {
    for (const auto gate_on : {experts::GateOn::kOutput, experts::GateOn::kInput}) {
      block.router.gate_on = gate_on;
      LayerOptions options;
      options.transport = transport;
      const Matrix exact = forward(block, 90, placement, options);
      options.presum = true;
      options.chunk_tokens = 7;
      const Matrix sums = forward(block, 90, placement, options);
      for (std::int64_t t = 0; t < exact.rows(); ++t) {
        for (std::int64_t c = 0; c < exact.cols(); ++c) {
          ASSERT_NEAR(sums(t, c), exact(t, c), 1e-5F + 1e-5F * std::abs(exact(t, c)));
        }
      }
    }
  }
}

TEST_F(Layer, WithSharedExpertsHasTheSameBitsWhoeverTakesTheTasks) {
  auto block = block_of(64, 96, 7, 3);
  block.shared = block.expert;
  for (const char* transport : {"node", "two-level", "p2p"}) {
    for (const bool queue : {true, false}) {
      LayerOptions options;
      options.transport = transport;
      options.node_queue = queue;
      options.threads = queue ? 2 : 1;
      expect_same_bits(forward(block, 55, Placement::linear(7, group_->size()), options),
                       alone(block, 55));
    }
  }
}

TEST_F(Layer, WithFewerExpertsThanRanksWorks) {
  const auto block = block_of(16, 8, 1, 1);
  expect_same_bits(forward(block, 9, Placement::linear(1, group_->size())), alone(block, 9));
}

TEST_F(Layer, WithoutAnyTokensWorks) {
  const auto block = block_of(16, 8, 4, 2);
  EXPECT_EQ(forward(block, 0, Placement::linear(4, group_->size())).rows(), 0);
}

TEST_F(Layer, WithTokensOnTheLastRankOnlyWorks) {
  const auto block = block_of(8, 8, 6, 6);
  const bool mine = group_->rank() == group_->size() - 1;
  Matrix tokens(mine ? 5 : 0, 8);
  experts::fill_tokens(1, 0, 0, tokens.view());
  experts::SyntheticSource source(block, 1, 0, false, false);
  MoeLayer layer(*group_, block, source, Placement::linear(6, group_->size()));
  const Matrix out = layer.forward(tokens.view());
  const auto solo = comm::solo_group();
  MoeLayer single(*solo, block, source, Placement::linear(6, 1));
  expect_same_bits(out, single.forward(tokens.view()));
}

TEST_F(Layer, TwoLayersMayTakeTurnsOnOneGroup) {
  const auto block = block_of(24, 16, 8, 2);
  experts::SyntheticSource first_source(block, 1, 0, false, false);
  experts::SyntheticSource second_source(block, 1, 1, false, false);
  const auto placement = Placement::linear(8, group_->size());
  MoeLayer first(*group_, block, first_source, placement);
  MoeLayer second(*group_, block, second_source, placement);
  Matrix tokens(6, 24);
  experts::fill_tokens(2, 0, group_->rank() * 6, tokens.view());
  const Matrix once = second.forward(first.forward(tokens.view()).view());
  for (int i = 0; i < 20; ++i) {
    expect_same_bits(second.forward(first.forward(tokens.view()).view()), once);
  }
}

TEST_F(Layer, CountsWhatItSendsAndDrops) {
  const auto block = block_of(16, 8, 8, 4);
  experts::SyntheticSource source(block, 3, 0, false, false);
  MoeLayer layer(*group_, block, source, Placement::linear(8, group_->size()));
  Matrix tokens(10, 16);
  experts::fill_tokens(3, 0, group_->rank() * 10, tokens.view());
  (void)layer.forward(tokens.view());
  const auto& stats = layer.stats();
  EXPECT_EQ(stats.planned.slots, 40);
  EXPECT_EQ(stats.planned.computed, 40);
  EXPECT_EQ(stats.logical_bytes, 2 * 40 * 16 * 4);
  if (group_->size() == 1) {
    EXPECT_EQ(stats.wire_bytes, 0);
  } else {
    EXPECT_GT(stats.wire_bytes, 0);
  }
  std::int64_t arrived = 0;
  for (const auto& rank :
       comm::allgather_values<std::int64_t>(*group_, std::span(&stats.arrived, 1))) {
    arrived += rank[0];
  }
  EXPECT_EQ(arrived, 40 * group_->size());
}

TEST_F(Layer, TakesARoutingOfTheCallers) {
  const auto block = block_of(8, 8, 3, 1);
  experts::SyntheticSource source(block, 5, 0, false, false);
  MoeLayer layer(*group_, block, source, Placement::linear(3, group_->size()));
  Matrix tokens(2, 8);
  experts::fill_tokens(5, 0, 0, tokens.view());
  experts::Routing routing;
  routing.offsets = {0, 2, 2};  // the second token goes nowhere
  routing.experts = {2, 2};     // the first one twice to the same expert
  routing.weights = {0.25F, 0.5F};
  const Matrix out = layer.forward(tokens.view(), routing);
  experts::Routing single;
  single.offsets = {0, 1, 1};
  single.experts = {2};
  single.weights = {0.75F};
  const Matrix same = layer.forward(tokens.view(), single);
  for (std::int64_t c = 0; c < 8; ++c) {
    EXPECT_NEAR(out(0, c), same(0, c), 1e-6);
    EXPECT_EQ(out(1, c), 0.0F);
  }
}

TEST_F(Layer, ABadLogitIsRefusedByRankLayerAndTokenBeforeAnythingIsSent) {
  const auto block = block_of(4, 4, 2, 1);
  experts::SyntheticSource source(block, 5, 0, false, false);
  LayerOptions options;
  options.layer = 3;
  MoeLayer layer(*group_, block, source, Placement::linear(2, group_->size()), options);
  Matrix tokens(3, 4);
  tokens(1, 2) = std::numeric_limits<float>::quiet_NaN();
  try {
    (void)layer.forward(tokens.view());
    FAIL() << "nothing was thrown";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), HasSubstr("rank " + std::to_string(group_->rank()) +
                                        ", layer 3, its tokens counted from 0: token 1"));
  }
}

TEST_F(Layer, ARoutingThatContradictsItselfIsRefusedBeforeItIsUsed) {
  const auto block = block_of(4, 4, 3, 1);
  experts::SyntheticSource source(block, 5, 0, false, false);
  MoeLayer layer(*group_, block, source, Placement::linear(3, group_->size()));
  Matrix tokens(2, 4);
  experts::Routing good;
  good.offsets = {0, 1, 2};
  good.experts = {0, 1};
  good.weights = {1, 1};
  EXPECT_EQ(layer.forward(tokens.view(), good).rows(), 2);
  auto without_weights = good;
  without_weights.weights.clear();
  auto falling = good;
  falling.offsets = {0, 5, 2};
  auto too_long = good;
  too_long.offsets = {0, 1, 1 << 20};
  auto unknown = good;
  unknown.experts[1] = 3;
  for (const auto& bad : {without_weights, falling, too_long, unknown}) {
    EXPECT_THROW((void)layer.forward(tokens.view(), bad), std::invalid_argument);
  }
}

TEST_F(Layer, PartsOfOtherHiddenSizesAreRefusedOnEveryRank) {
  auto block = block_of(8, 4, 3, 1);
  block.shared = block.expert;
  block.shared->hidden = 4096;
  experts::SyntheticSource source(block, 5, 0, false, false);
  EXPECT_THROW(MoeLayer(*group_, block, source, Placement::linear(3, group_->size())),
               comm::CollectiveError);
}

TEST_F(Layer, RowsOfAnotherWidthAreRefused) {
  const auto block = block_of(4, 4, 2, 1);
  experts::SyntheticSource source(block, 5, 0, false, false);
  MoeLayer layer(*group_, block, source, Placement::linear(2, group_->size()));
  Matrix tokens(3, 5);
  EXPECT_THROW((void)layer.forward(tokens.view()), std::invalid_argument);
}

TEST_F(Layer, APlacementForOtherRanksIsRefusedOnEveryRank) {
  const auto block = block_of(4, 4, 2, 1);
  experts::SyntheticSource source(block, 5, 0, false, false);
  EXPECT_THROW(MoeLayer(*group_, block, source, Placement::linear(2, group_->size() + 1)),
               comm::CollectiveError);
}

/// Weights that one rank cannot read.
class BrokenSource final : public experts::WeightSource {
 public:
  BrokenSource(experts::WeightSource& inner, bool broken) : inner_(inner), broken_(broken) {}
  experts::RouterTensors router() override {
    if (broken_) throw std::invalid_argument("tensor gate: missing in shard 2");
    return inner_.router();
  }
  experts::ExpertTensors expert(std::int64_t logical) override { return inner_.expert(logical); }

 private:
  experts::WeightSource& inner_;
  bool broken_;
};

TEST_F(Layer, WeightsThatOneRankCannotReadFailOnAllWithItsWords) {
  const auto block = block_of(4, 4, 2, 1);
  experts::SyntheticSource inner(block, 5, 0, false, false);
  BrokenSource source(inner, group_->rank() == group_->size() - 1);
  try {
    MoeLayer layer(*group_, block, source, Placement::linear(2, group_->size()));
    FAIL() << "nothing was thrown";
  } catch (const comm::CollectiveError& error) {
    EXPECT_EQ(error.status(), 2);
    EXPECT_EQ(error.rank(), group_->size() - 1);
    EXPECT_THAT(error.what(), HasSubstr("tensor gate: missing in shard 2"));
  }
}
}  // namespace
}  // namespace switchyard::runtime
