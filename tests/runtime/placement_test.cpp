// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/placement.hpp"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard::runtime {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

class PlacementFile : public testing::Test {
 protected:
  std::string write(const std::string& text) {
    const std::string file = testing::TempDir() + "placement.textproto";
    std::ofstream(file) << text;
    return file;
  }
};

TEST(Placement, LinearGivesTheFirstRanksOneMoreWhenItDoesNotDivide) {
  const auto placement = Placement::linear(7, 3);
  EXPECT_THAT(placement.experts_of(0), ElementsAre(0, 1, 2));
  EXPECT_THAT(placement.experts_of(1), ElementsAre(3, 4));
  EXPECT_THAT(placement.experts_of(2), ElementsAre(5, 6));
  EXPECT_THAT(placement.hosts_of(4), ElementsAre(1));
}

TEST(Placement, MoreRanksThanExpertsLeavesRanksIdle) {
  const auto placement = Placement::linear(2, 5);
  EXPECT_EQ(placement.idle_ranks(), 3);
  EXPECT_THAT(placement.experts_of(4), IsEmpty());
  EXPECT_EQ(Placement::round_robin(2, 5).idle_ranks(), 3);
}

TEST(Placement, RoundRobinDealsExpertsOut) {
  const auto placement = Placement::round_robin(5, 2);
  EXPECT_THAT(placement.experts_of(0), ElementsAre(0, 2, 4));
  EXPECT_THAT(placement.experts_of(1), ElementsAre(1, 3));
}

TEST(Placement, ACopyOnTwoRanksHasTwoHosts) {
  const auto placement = Placement::from_lists({{1, 0}, {2, 1}}, 3);
  EXPECT_THAT(placement.experts_of(0), ElementsAre(0, 1));
  EXPECT_THAT(placement.hosts_of(1), ElementsAre(0, 1));
}

TEST(Placement, AnUnknownExpertIsRefusedByNumberAndRank) {
  EXPECT_EQ(refusal([] {
              (void)Placement::from_lists({{0, 9}, {1}}, 8);
            }),
            "placement: expert 9 on rank 0, want 0 to 7");
}

TEST(Placement, AnExpertTwiceOnARankIsRefused) {
  EXPECT_THAT(refusal([] {
                (void)Placement::from_lists({{1, 1}, {0}}, 2);
              }),
              HasSubstr("expert 1 is twice on rank 0"));
}

TEST(Placement, AnExpertWithoutAHostIsRefused) {
  EXPECT_THAT(refusal([] {
                (void)Placement::from_lists({{0}, {2}}, 3);
              }),
              HasSubstr("expert 1 has no host"));
}

TEST_F(PlacementFile, IsReadInTextFormat) {
  const auto file = write("version: 1 rank { expert: [0, 2] } rank { expert: 1 expert: 2 }");
  const auto placement = Placement::from_name(file, 3, 2);
  EXPECT_THAT(placement.experts_of(1), ElementsAre(1, 2));
}

TEST_F(PlacementFile, WrittenAndReadAgainIsTheSameForEveryLayer) {
  const std::vector<LayerPlacement> plan{{3, Placement::from_lists({{0, 2}, {1}}, 3)},
                                         {7, Placement::from_lists({{2, 1}, {0, 1}}, 3)}};
  const auto file = write(to_text(plan));
  for (const auto& [layer, placement] : plan) {
    EXPECT_EQ(Placement::from_name(file, 3, 2, layer), placement);
  }
  EXPECT_TRUE(Placement::layered(file));
  EXPECT_THAT(refusal([&] { (void)Placement::from_file(file, 3, 2); }),
              HasSubstr("layers have placements of their own, want one for all"));
  EXPECT_THAT(refusal([&] { (void)Placement::from_file(file, 3, 2, 4); }),
              HasSubstr("no placement for layer 4"));
  const auto shared = write(to_text(std::vector<LayerPlacement>{{kEveryLayer, plan[0].placement}}));
  EXPECT_FALSE(Placement::layered(shared));
  EXPECT_EQ(Placement::from_file(shared, 3, 2), plan[0].placement);
  EXPECT_EQ(Placement::from_file(shared, 3, 2, 12), plan[0].placement);
}

TEST_F(PlacementFile, NamesAPlacementForTheLayersThatHaveNoneOfTheirOwn) {
  const auto file = write(
      "version: 2 rank { expert: [0, 1] } rank { expert: 2 } "
      "layer { number: 5 rank { expert: 0 } rank { expert: [1, 2] } }");
  EXPECT_THAT(Placement::from_file(file, 3, 2, 5).experts_of(0), ElementsAre(0));
  EXPECT_THAT(Placement::from_file(file, 3, 2, 6).experts_of(0), ElementsAre(0, 1));
}

TEST_F(PlacementFile, ForAnotherNumberOfRanksIsRefused) {
  const auto file = write("rank { expert: [0, 1] }");
  EXPECT_THAT(refusal([&] { (void)Placement::from_file(file, 2, 2); }),
              HasSubstr("placement for 1 ranks, want 2"));
}

TEST_F(PlacementFile, OfANewerVersionIsRefused) {
  const auto file = write("version: 3 rank { expert: 0 }");
  EXPECT_THAT(refusal([&] { (void)Placement::from_file(file, 1, 1); }),
              HasSubstr("version 3, want at most 2"));
}

TEST_F(PlacementFile, WithAMistakeIsRefusedByLineAndColumn) {
  const auto file = write("version: 1\nrang { expert: 0 }\n");
  EXPECT_THAT(refusal([&] { (void)Placement::from_file(file, 1, 1); }), HasSubstr(":2:"));
}

TEST_F(PlacementFile, ThatNestsTooDeeplyIsRefusedAndDoesNotOverflow) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "rank {";
  const auto file = write(text);
  EXPECT_THAT(refusal([&] { (void)Placement::from_file(file, 1, 1); }), HasSubstr(file));
}

TEST(Placement, AnUnknownNameSaysWhatIsWanted) {
  EXPECT_EQ(refusal([] { (void)Placement::from_name("liner", 2, 1); }),
            "placement: got 'liner', want linear, round-robin or a file that exists");
}
}  // namespace
}  // namespace switchyard::runtime
