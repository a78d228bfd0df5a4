// SPDX-License-Identifier: Apache-2.0
/// @file
/// Exchanges between threads: every byte of random rounds, and what is refused. Runs under TSan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "comm/wire/frame.hpp"
#include "tests/comm/exchange_rounds.hpp"

namespace switchyard::comm {
namespace {
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(LocalExchange, EveryByteArrivesWhereverItIsReadOrSent) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (const char* transport : {"local", "p2p", "node"}) {
      run_local(ranks, [&](Group& group) { testing::play_rounds(group, transport, 6); });
    }
  }
}

TEST(LocalExchange, TwoLevelsCarryEveryByteWhateverRanksShareANode) {
  for (int ranks = 1; ranks <= 6; ++ranks) {
    for (int ranks_per_node = 1; ranks_per_node <= 4; ++ranks_per_node) {
      run_local(ranks, [&](Group& group) {
        group.play_nodes(ranks_per_node);
        testing::play_rounds(group, "two-level", 3);
        testing::interleave(group, "two-level", "two-level");
      });
    }
  }
}

TEST(LocalExchange, TwoExchangesOnOneGroupDoNotMix) {
  run_local(4, [](Group& group) { testing::interleave(group, "local", "p2p"); });
  run_local(3, [](Group& group) { testing::interleave(group, "local", "local"); });
  run_local(3, [](Group& group) { testing::interleave(group, "node", "node"); });
}

TEST(LocalExchange, MoreRanksThanTheWindowStillMeet) {
  run_local(24, [](Group& group) { testing::play_rounds(group, "p2p", 1); });
  run_local(20, [](Group& group) { testing::play_rounds(group, "local", 1); });
}

TEST(LocalExchange, AutoHandsAddressesBetweenThreads) {
  run_local(2, [](Group& group) { EXPECT_EQ(make_exchange(group, "auto")->name(), "local"); });
}

TEST(LocalExchange, RowsOfAnotherThreadAreReadWhereTheyLie) {
  std::vector<std::byte> rows(64);
  run_local(2, [&](Group& group) {
    const auto exchange = make_exchange(group, "local");
    Offer offer{.base = nullptr,
                .row_bytes = 16,
                .row_offsets = {0, 0, 0},
                .rows = {},
                .note_offsets = {0, 0, 0},
                .notes = {},
                .results = {0, 0}};
    if (group.rank() == 0) {
      offer.base = rows.data();
      offer.rows = {3};
      offer.row_offsets = {0, 0, 1};
    }
    const Delivery& delivery = exchange->dispatch(offer);
    if (group.rank() == 1) {
      EXPECT_EQ(delivery.rows.at(0), rows.data() + 48);
    }
    static_cast<void>(exchange->open_returns(4));
    static_cast<void>(exchange->collect());
  });
}

TEST(LocalExchange, AnUnknownTransportIsRefusedWithTheKnownOnes) {
  run_local(1, [](Group& group) {
    EXPECT_THAT([&] { static_cast<void>(make_exchange(group, "foo")); },
                ThrowsMessage<std::invalid_argument>(
                    "transport: got 'foo', want auto, node, two-level, relay, p2p or local"));
    EXPECT_THAT([&] { static_cast<void>(make_exchange(group, "alltoallv")); },
                ThrowsMessage<std::invalid_argument>(
                    HasSubstr("want auto, node, two-level, relay, p2p or local")));
  });
}

TEST(LocalExchange, RanksThatOpenDifferentTransportsNameTheOddOne) {
  std::vector<std::string> words(4);
  try {
    run_local(4, [&](Group& group) {
      try {
        static_cast<void>(make_exchange(group, group.rank() == 2 ? "p2p" : "local"));
      } catch (const CollectiveError& error) {
        words[static_cast<std::size_t>(group.rank())] = error.what();
      }
    });
  } catch (const std::exception& error) {
    FAIL() << error.what();
  }
  EXPECT_THAT(words, ::testing::Each(std::string(
                         "exchange: rank 2 opened another one: transport is p2p, want local as on "
                         "3 ranks")));
}

/// An offer of nothing to two ranks, to be broken.
Offer empty_offer() {
  Offer offer;
  offer.row_bytes = 8;
  offer.row_offsets = {0, 0, 0};
  offer.note_offsets = {0, 0, 0};
  offer.results = {0, 0};
  return offer;
}

TEST(LocalExchange, AnOfferThatBreaksItsDescriptionIsRefusedBeforeAnythingIsSent) {
  struct Breach {
    void (*make)(Offer&);
    const char* words;
  };
  static constexpr std::byte kRow[8] = {};
  const Breach breaches[] = {
      {[](Offer& o) { o.row_bytes = 6; }, "offer: row_bytes is 6, want a multiple of 4"},
      {[](Offer& o) { o.row_bytes = 0; }, "offer: row_bytes is 0"},
      {[](Offer& o) {
         o.row_offsets = {0, 0};
       },
       "offer: row_offsets has 2 entries, want 3"},
      {[](Offer& o) {
         o.row_offsets = {1, 1, 1};
       },
       "offer: row_offsets starts at 1, want 0"},
      {[](Offer& o) {
         o.row_offsets = {0, 2, 1};
       },
       "offer: row_offsets gives rank 1 -1"},
      {[](Offer& o) {
         o.row_offsets = {0, 1, 2};
       },
       "offer: row_offsets ends at 2, want 0"},
      {[](Offer& o) {
         o.row_offsets = {0, 3000000000, 3000000000};
       },
       "offer: row_offsets gives rank 0 3000000000, want 0 to 2147483647"},
      {[](Offer& o) {
         o.note_offsets = {0, 0, 5};
       },
       "offer: note_offsets ends at 5, want 0"},
      {[](Offer& o) { o.results = {0}; }, "offer: results has 1 entries, want 2"},
      {[](Offer& o) {
         o.results = {0, -1};
       },
       "offer: results has -1, want 0 to"},
      {[](Offer& o) {
         o.rows = {0};
         o.row_offsets = {0, 0, 1};
       },
       "offer: base is null"},
      {[](Offer& o) {
         o.base = kRow;
         o.rows = {-1};
         o.row_offsets = {0, 0, 1};
       },
       "offer: row is -1"},
  };
  for (const char* transport : {"local", "p2p", "node", "two-level"}) {
    run_local(2, [&](Group& group) {
      const auto exchange = make_exchange(group, transport);
      const std::int64_t before = exchange->traffic().messages;
      for (const Breach& breach : breaches) {
        if (group.rank() != 0) continue;  // the other rank knows nothing of it
        Offer offer = empty_offer();
        breach.make(offer);
        EXPECT_THAT([&] { static_cast<void>(exchange->dispatch(offer)); },
                    ThrowsMessage<std::invalid_argument>(HasSubstr(breach.words)));
      }
      EXPECT_EQ(exchange->traffic().messages, before);
      testing::Round(*exchange, group.rank(), 2, 3, testing::Shape::kRagged).play();
    });
  }
}

TEST(LocalExchange, CallsOutOfTurnAreRefused) {
  run_local(1, [](Group& group) {
    const auto exchange = make_exchange(group, "p2p");
    EXPECT_THAT([&] { static_cast<void>(exchange->collect()); },
                ThrowsMessage<std::invalid_argument>(
                    "exchange p2p: collect out of turn, want dispatch, open_returns, collect"));
    EXPECT_THROW(static_cast<void>(exchange->open_returns(4)), std::invalid_argument);
  });
}

/// Rank 1 sends this instead of a frame of its own; returns what rank 0's exchange says of it.
std::string refusal_of(const FrameHeader& header, std::size_t flipped_bit) {
  std::string words;
  run_local(2, [&](Group& group) {
    const auto exchange = make_exchange(group, "p2p");
    if (group.rank() == 1) {
      Buffer bytes(64);
      write_header(header, bytes.bytes());
      if (flipped_bit < 512) {
        bytes.data()[flipped_bit / 8] ^= static_cast<std::byte>(1U << (flipped_bit % 8));
      }
      Pending sent = group.send(0, kFirstExchange, std::move(bytes), {.row_bytes = 64, .rows = 1});
      group.wait(sent);
    } else {
      try {
        static_cast<void>(exchange->dispatch(empty_offer()));
      } catch (const ProtocolError& error) {
        words = error.what();
      }
      EXPECT_THROW(static_cast<void>(exchange->dispatch(empty_offer())), std::invalid_argument)
          << "after a failure";
    }
  });
  return words;
}

FrameHeader good_header() {
  FrameHeader header;
  header.from = 1;
  header.to = 0;
  header.sequence = 1;
  header.row_bytes = 8;
  return header;
}

TEST(LocalExchange, AFrameOfAnotherRoundRankOrSizeIsRefusedByName) {
  const auto refused = [](void (*change)(FrameHeader&)) {
    FrameHeader header = good_header();
    change(header);
    return refusal_of(header, 512);
  };
  EXPECT_EQ(refused([](FrameHeader& h) { h.sequence = 4; }),
            "frame from rank 1 to rank 0: sequence is 4, want 1");
  EXPECT_EQ(refused([](FrameHeader& h) { h.version = 2; }),
            "frame from rank 1 to rank 0: version is 2, want 1");
  EXPECT_EQ(refused([](FrameHeader& h) { h.magic[0] = 'X'; }),
            "frame from rank 1 to rank 0: does not begin with SYRD");
  EXPECT_EQ(refused([](FrameHeader& h) { h.kind = FrameKind::kReturn; }),
            "frame from rank 1 to rank 0: kind is 2, want 1");
  EXPECT_EQ(refused([](FrameHeader& h) { h.epoch = 9; }),
            "frame from rank 1 to rank 0: epoch is 9, want 0");
  EXPECT_EQ(refused([](FrameHeader& h) { h.edition = 2; }),
            "frame from rank 1 to rank 0: edition is 2, want 0");
  EXPECT_EQ(refused([](FrameHeader& h) { h.from = 3; }),
            "frame from rank 1 to rank 0: from is 3, want 1");
  EXPECT_EQ(refused([](FrameHeader& h) { h.to = 1; }),
            "frame from rank 1 to rank 0: to is 1, want 0");
  EXPECT_EQ(refused([](FrameHeader& h) { h.row_bytes = 12; }),
            "frame from rank 1 to rank 0: row_bytes is 12, want 8");
  EXPECT_EQ(refused([](FrameHeader& h) { h.rows = std::int64_t{1} << 40; }),
            "frame from rank 1 to rank 0: rows is 1099511627776, want 0 to 2147483647");
  EXPECT_EQ(refused([](FrameHeader& h) { h.note_bytes = -1; }),
            "frame from rank 1 to rank 0: note_bytes is -1, want 0 to 2147483647");
}

TEST(LocalExchange, AnyFlippedBitOfAHeaderIsRefused) {
  for (std::size_t bit = 0; bit < 512; bit += 7) {
    EXPECT_THAT(refusal_of(good_header(), bit), HasSubstr("frame from rank 1 to rank 0: "))
        << "bit " << bit;
  }
}

TEST(LocalExchange, ARankThatThrowsEndsTheOthersWaits) {
  std::vector<std::string> words(4);
  EXPECT_THAT(
      [&] {
        run_local(4, [&](Group& group) {
          Offer offer = empty_offer();
          offer.row_offsets = offer.note_offsets = {0, 0, 0, 0, 0};
          offer.results = {0, 0, 0, 0};
          try {
            // Rank 2 may leave while others are still waiting for it to open the exchange.
            const auto exchange = make_exchange(group, "local");
            if (group.rank() == 2) throw std::domain_error("out of tokens");
            static_cast<void>(exchange->dispatch(offer));
          } catch (const TemporaryError& error) {
            words[static_cast<std::size_t>(group.rank())] = error.what();
            throw;
          }
        });
      },
      ThrowsMessage<std::domain_error>("out of tokens"));
  for (const std::size_t rank : {0U, 1U, 3U}) {
    EXPECT_EQ(words[rank], "rank 2 left: out of tokens");
  }
}
}  // namespace
}  // namespace switchyard::comm
