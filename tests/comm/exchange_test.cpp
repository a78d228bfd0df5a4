// SPDX-License-Identifier: Apache-2.0
/// @file
/// Exchanges between processes: every byte of random rounds, over each transport of MPI's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>

#include "comm/exchange/node.hpp"
#include "comm/group/mpi_group.hpp"
#include "tests/comm/exchange_rounds.hpp"

namespace switchyard::comm {
namespace {
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class MpiExchange : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string_view(GetParam()) == "node" && group_->nodes().nodes > 1) {
      GTEST_SKIP() << "ranks on several nodes";
    }
  }
  std::unique_ptr<MpiGroup> group_ = MpiGroup::world();
};

/// Whether the ranks stand on nodes of their own, as in netns_test.sh.
bool several_nodes(Group& group) {
  return group.nodes().nodes > 1;
}

TEST_P(MpiExchange, EveryByteArrives) {
  testing::play_rounds(*group_, GetParam(), 20);
}

TEST_P(MpiExchange, TwoExchangesOnOneGroupDoNotMix) {
  testing::interleave(*group_, GetParam(), "p2p");
  testing::interleave(*group_, "alltoallv", GetParam());
}

TEST_P(MpiExchange, ABrokenOfferIsRefusedAndTheExchangeGoesOn) {
  const auto exchange = make_exchange(*group_, GetParam());
  if (group_->rank() == 0) {
    EXPECT_THROW(static_cast<void>(exchange->dispatch(Offer())), std::invalid_argument);
    EXPECT_EQ(exchange->traffic().messages, 0);
  }
  testing::Round(*exchange, group_->rank(), group_->size(), 5, testing::Shape::kRagged).play();
}

TEST(NodeExchange, EveryByteArrivesWhereLinesComeFromFar) {
  const auto group = MpiGroup::world();
  if (several_nodes(*group)) GTEST_SKIP() << "ranks on several nodes";
  NodeExchange exchange(*group, group->new_channel(), Distances::all_far(group->size()));
  for (std::uint64_t i = 0; i < 10; ++i) {
    for (const testing::Shape shape : testing::kShapes) {
      testing::Round(exchange, group->rank(), group->size(), 7 + i, shape).play();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, MpiExchange,
                         ::testing::Values("p2p", "alltoallv", "node", "two-level", "relay"),
                         [](const auto& which) {
                           const std::string name = which.param;
                           return name == "two-level" ? "two_level" : name;
                         });

TEST(TwoLevelExchange, EveryByteArrivesWhateverRanksShareANode) {
  for (int ranks_per_node = 1; ranks_per_node <= 3; ++ranks_per_node) {
    const auto group = MpiGroup::world();
    group->play_nodes(ranks_per_node);
    testing::play_rounds(*group, "two-level", 6);
    testing::interleave(*group, "two-level", "two-level");
  }
}

TEST(RelayExchange, EveryByteArrivesWhateverRanksShareANode) {
  for (int ranks_per_node = 1; ranks_per_node <= 3; ++ranks_per_node) {
    const auto group = MpiGroup::world();
    group->play_nodes(ranks_per_node);
    testing::play_rounds(*group, "relay", 6);
    testing::interleave(*group, "relay", "p2p");
  }
}

TEST(MpiExchangeChoice, AutoIsSharedMemoryOnOneNodeAndTheLocalOneIsRefused) {
  const auto group = MpiGroup::world();
  EXPECT_EQ(make_exchange(*group, "auto")->name(), several_nodes(*group) ? "two-level"
                                                   : group->size() > 1   ? "node"
                                                                         : "p2p");
  EXPECT_THAT([&] { static_cast<void>(make_exchange(*group, "local")); },
              ThrowsMessage<std::invalid_argument>(
                  "transport: got 'local', want auto, node, two-level, relay, p2p or alltoallv"));
}
}  // namespace
}  // namespace switchyard::comm
