// SPDX-License-Identifier: Apache-2.0
// A rank that would wait for others has something to do: its always-on parts, and the router of its
// next chunk.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/error.hpp"
#include "comm/group/local_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/layer/route_ahead.hpp"
#include "tests/runtime/small_block.hpp"

namespace switchyard::runtime {
namespace {
using experts::Matrix;
using std::chrono::milliseconds;

class Countdown final : public comm::Spare {
 public:
  explicit Countdown(int pieces) : pieces_(pieces) {}
  [[nodiscard]] bool left() const override { return pieces_ > 0; }
  void work() override {
    --pieces_;
    std::this_thread::sleep_for(milliseconds(2));
  }

 private:
  int pieces_;
};

TEST(Spare, IsDoneBetweenLooksAndItsTimeIsNoWaiting) {
  comm::Deadline deadline(milliseconds(20000));
  Countdown spare(10);
  const comm::WhileWaiting meanwhile(deadline, &spare);
  deadline.wait([&] { return !spare.left(); }, [] { return std::string("nobody"); });
  EXPECT_LT(deadline.waited(), milliseconds(10)) << "20 ms of work";
}

TEST(Spare, IsLeftAloneWhenNothingIsWaitedForAndDoesNotHideADeadline) {
  comm::Deadline deadline(milliseconds(5));
  Countdown spare(10);
  const auto nobody = [] { return std::string("rank 3"); };
  {
    const comm::WhileWaiting meanwhile(deadline, &spare);
    deadline.wait([] { return true; }, nobody);
    EXPECT_TRUE(spare.left());
    EXPECT_THROW(deadline.wait([] { return false; }, nobody), comm::DeadlineError);
    EXPECT_FALSE(spare.left());
  }
  EXPECT_EQ(deadline.spare(), nullptr);
}

TEST(RouteAhead, PiecesOfAChunkAreWhatItIsAtOnce) {
  constexpr std::int64_t kTokens = 100;
  const Matrix tokens(kTokens, 2);
  // The number of token t says whose slots they are: one of expert t, another where t is odd.
  const auto route = [](RouteAhead& ahead, const RouteAhead::Piece& piece) {
    experts::Routing& room = ahead.room(piece);
    room.offsets.assign(1, 0);
    room.experts.clear();
    room.weights.clear();
    for (std::int64_t t = piece.first; t < piece.first + piece.tokens.rows; ++t) {
      for (std::int64_t s = 0; s <= t % 2; ++s) {
        room.experts.push_back(static_cast<std::int32_t>(t));
        room.weights.push_back(static_cast<float>(s));
      }
      room.offsets.push_back(static_cast<std::int64_t>(room.experts.size()));
    }
    ahead.add(piece);
  };
  for (const std::int64_t chunk : {1, 28, 29, 60, 100, 1000}) {
    RouteAhead whole;
    RouteAhead pieces;
    whole.start(tokens.view(), chunk);
    pieces.start(tokens.view(), chunk);
    std::int64_t seen = 0;
    for (int i = 0; seen < kTokens; ++i) {
      if (whole.left()) route(whole, whole.rest());
      if (pieces.left() && i % 3 > 0) route(pieces, pieces.some());
      while (pieces.left()) route(pieces, i % 2 == 0 ? pieces.rest() : pieces.some());
      const experts::Routing& want = whole.take();
      const experts::Routing& got = pieces.take();
      EXPECT_EQ(got.offsets, want.offsets) << chunk;
      EXPECT_EQ(got.experts, want.experts) << chunk;
      EXPECT_EQ(got.weights, want.weights) << chunk;
      EXPECT_EQ(got.experts.front(), seen);
      seen += got.tokens();
    }
    EXPECT_EQ(seen, kTokens);
    EXPECT_FALSE(pieces.left());
    EXPECT_EQ(pieces.take().tokens(), 0);
  }
}

/// Phases inside a phase of another name.
std::vector<std::string> nested_in(const std::vector<TimelineEvent>& events,
                                   std::string_view outer) {
  std::vector<std::string> found;
  for (const TimelineEvent& around : events) {
    if (around.kind != EventKind::kPhase || around.name != outer) continue;
    for (const TimelineEvent& event : events) {
      if (event.kind == EventKind::kPhase && event.name != outer && event.begin >= around.begin &&
          event.end <= around.end) {
        found.emplace_back(event.name);
      }
    }
  }
  return found;
}

TEST(Overlap, ARankThatWaitsForALateOnePreparesAndRoutesItsNextChunk) {
  constexpr std::int64_t kTokens = 120;
  const auto block = tests::small_block(20, 12, 7);
  std::vector<Matrix> outputs(2);
  std::vector<std::vector<TimelineEvent>> events(2);
  PhaseTimes phases;
  comm::run_local(2, [&](comm::Group& group) {
    Timeline timeline(1, 1000);
    LayerOptions options;
    options.timeline = &timeline;
    options.chunk_tokens = kTokens / 2;
    experts::SyntheticSource source(block, 3, 0, false, false);
    MoeLayer layer(group, block, source, Placement::linear(7, 2), options);
    Matrix tokens(kTokens, 20);
    experts::fill_tokens(3, 0, group.rank() * kTokens, tokens.view());
    if (group.rank() == 1) std::this_thread::sleep_for(milliseconds(100));
    const auto rank = static_cast<std::size_t>(group.rank());
    outputs[rank] = layer.forward(tokens.view());
    events[rank] = timeline.events(0);
    if (rank == 0) phases = layer.stats().phases;
  });
  EXPECT_THAT(nested_in(events[0], "dispatch"),
              testing::ElementsAre("always-on", "always-on", "route", "route", "route"));
  for (const double seconds : phases.seconds) EXPECT_GE(seconds, 0);
  for (std::size_t p = 0; p < kNumPhases; ++p) EXPECT_LE(phases.waiting[p], phases.seconds[p]);

  const auto solo = comm::solo_group();
  experts::SyntheticSource source(block, 3, 0, false, false);
  MoeLayer layer(*solo, block, source, Placement::linear(7, 1));
  for (std::size_t rank = 0; rank < 2; ++rank) {
    Matrix tokens(kTokens, 20);
    experts::fill_tokens(3, 0, static_cast<std::int64_t>(rank) * kTokens, tokens.view());
    const Matrix want = layer.forward(tokens.view());
    EXPECT_EQ(std::memcmp(outputs[rank].data(), want.data(),
                          static_cast<std::size_t>(kTokens * 20) * sizeof(float)),
              0);
  }
}

TEST(Overlap, ABadLogitOfALaterChunkIsRefusedByItsPlace) {
  const auto block = tests::small_block(20, 12, 7);
  const auto solo = comm::solo_group();
  experts::SyntheticSource source(block, 3, 0, false, false);
  LayerOptions options;
  options.chunk_tokens = 4;
  MoeLayer layer(*solo, block, source, Placement::linear(7, 1), options);
  Matrix tokens(10, 20);
  tokens(6, 1) = std::numeric_limits<float>::quiet_NaN();
  Matrix out(10, 20);
  try {
    layer.forward(std::as_const(tokens).view(), out.view(), 1000);
    FAIL() << "nothing was thrown";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("its tokens counted from 1004: token 2"));
  }
}
}  // namespace
}  // namespace switchyard::runtime
