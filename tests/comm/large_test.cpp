// SPDX-License-Identifier: Apache-2.0
/// @file
/// More than 2^31 bytes from one rank to another in one message. Needs about 5 GiB.
#include <cstring>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "comm/group/mpi_group.hpp"
#include "tests/comm/exchange_rounds.hpp"

namespace switchyard::comm {
namespace {
constexpr std::int64_t kRowBytes = 65532;  // no power of two, so that a wrapped count would show
constexpr std::int64_t kRows = 33000;
constexpr std::int64_t kDistinct = 257;
static_assert(kRowBytes * kRows > (std::int64_t{1} << 31));

class Large : public ::testing::TestWithParam<const char*> {};

TEST_P(Large, MoreThanTwoToThe31BytesArriveInOneMessage) {
  const auto group = MpiGroup::world(std::chrono::seconds(120));
  ASSERT_EQ(group->size(), 2);
  std::vector<std::byte> memory(static_cast<std::size_t>(kDistinct * kRowBytes));
  testing::paint(memory, 99);
  const auto row = [&](std::int64_t i) { return memory.data() + i * 31 % kDistinct * kRowBytes; };
  Offer offer;
  offer.base = memory.data();
  offer.row_bytes = kRowBytes;
  offer.note_offsets = {0, 0, 0};
  offer.results = {0, 0};
  offer.row_offsets = {0, 0, 0};
  if (group->rank() == 0) {
    offer.row_offsets[2] = kRows;  // the same few rows, named many times
    for (std::int64_t i = 0; i < kRows; ++i) offer.rows.push_back(i * 31 % kDistinct);
  }
  const auto exchange = make_exchange(*group, GetParam());
  const Delivery& delivery = exchange->dispatch(offer);
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < delivery.rows.size(); ++i) {
    const auto* const want = row(static_cast<std::int64_t>(i));
    if (std::memcmp(delivery.rows[i], want, kRowBytes) != 0) ++wrong;
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(delivery.rows.size(), group->rank() == 1 ? static_cast<std::size_t>(kRows) : 0U);
  static_cast<void>(exchange->open_returns(4));
  static_cast<void>(exchange->collect());
}

INSTANTIATE_TEST_SUITE_P(Transports, Large, ::testing::Values("p2p", "alltoallv"),
                         [](const auto& which) { return std::string(which.param); });
}  // namespace
}  // namespace switchyard::comm
