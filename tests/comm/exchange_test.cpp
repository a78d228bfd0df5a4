// SPDX-License-Identifier: Apache-2.0
/// @file
/// Exchanges between processes: every byte of random rounds, over each transport of MPI's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>

#include "comm/mpi_group.hpp"
#include "tests/comm/exchange_rounds.hpp"

namespace switchyard::comm {
namespace {
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class MpiExchange : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<MpiGroup> group_ = MpiGroup::world();
};

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

INSTANTIATE_TEST_SUITE_P(Transports, MpiExchange, ::testing::Values("p2p", "alltoallv", "node"),
                         [](const auto& which) { return std::string(which.param); });

TEST(MpiExchangeChoice, AutoIsSharedMemoryOnOneNodeAndTheLocalOneIsRefused) {
  const auto group = MpiGroup::world();
  EXPECT_EQ(make_exchange(*group, "auto")->name(), group->size() > 1 ? "node" : "p2p");
  EXPECT_THAT([&] { static_cast<void>(make_exchange(*group, "local")); },
              ThrowsMessage<std::invalid_argument>(
                  "transport: got 'local', want auto, node, p2p or alltoallv"));
}
}  // namespace
}  // namespace switchyard::comm
