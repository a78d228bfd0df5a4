// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/plan.hpp"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/layer/stages.hpp"

namespace switchyard::runtime {
namespace {
using experts::kDropped;
using experts::Routing;
using testing::ElementsAre;

Routing routing_of(std::vector<std::vector<std::int32_t>> experts) {
  Routing routing;
  for (const auto& token : experts) {
    for (const auto expert : token) {
      routing.experts.push_back(expert);
      routing.weights.push_back(0.5F);
    }
    routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
  }
  return routing;
}

std::vector<Entry> entries_for(const DispatchPlan& plan, std::size_t rank) {
  std::vector<Entry> entries(static_cast<std::size_t>(plan.offer.results[rank]));
  std::memcpy(entries.data(), plan.offer.notes.data() + plan.offer.note_offsets[rank],
              entries.size() * sizeof(Entry));
  return entries;
}

TEST(Plan, ARowIsNamedOnceToARankHoweverManyOfItsExpertsLiveThere) {
  // Experts 0, 1 on rank 0; 2, 3 on rank 1. Token 0 wants 3, 0, 2; token 1 wants 1.
  const auto plan =
      make_plan(routing_of({{3, 0, 2}, {1}}), Placement::linear(4, 2), 0, 0, 2, 0, false);
  EXPECT_THAT(plan.offer.row_offsets, ElementsAre(0, 2, 3));
  EXPECT_THAT(plan.offer.rows, ElementsAre(0, 1, 0));
  EXPECT_THAT(plan.offer.results, ElementsAre(2, 2));
  EXPECT_THAT(plan.result_slots, ElementsAre(1, 3, 0, 2));
  EXPECT_EQ(plan.counts.rows, 3);
  EXPECT_EQ(plan.counts.rows_out, 1);
  EXPECT_EQ(plan.counts.computed, 4);
  const auto entries = entries_for(plan, 1);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].expert, 3);
  EXPECT_EQ(entries[1].expert, 2);
  EXPECT_EQ(entries[0].row, 0);
  EXPECT_EQ(entries[1].row, 0);
}

TEST(Plan, DroppedAndIdentitySlotsStayHomeAndAreCounted) {
  const auto plan =
      make_plan(routing_of({{kDropped, 2, 1}}), Placement::linear(2, 2), 0, 0, 1, 1, false);
  EXPECT_EQ(plan.counts.slots, 3);
  EXPECT_EQ(plan.counts.dropped, 1);
  EXPECT_EQ(plan.counts.identity, 1);
  EXPECT_EQ(plan.counts.computed, 1);
  EXPECT_THAT(plan.result_slots, ElementsAre(2));
}

TEST(Plan, OfSeveralCopiesTheOneAtHomeIsTaken) {
  const auto placement = Placement::from_lists({{0, 1}, {1}}, 2);
  EXPECT_THAT(make_plan(routing_of({{1}}), placement, 0, 0, 1, 0, false).offer.results,
              ElementsAre(1, 0));
  EXPECT_THAT(make_plan(routing_of({{1}}), placement, 1, 0, 1, 0, false).offer.results,
              ElementsAre(0, 1));
}

TEST(Plan, ElseTheCopyOnARankThatGetsTheRowAnyway) {
  // Expert 0 lives on ranks 1 and 2, expert 1 on rank 2 only, expert 2 at home.
  const auto placement = Placement::from_lists({{2}, {0}, {0, 1}}, 3);
  const auto plan = make_plan(routing_of({{0, 1}}), placement, 0, 0, 1, 0, false);
  EXPECT_THAT(plan.offer.results, ElementsAre(0, 0, 2));
  EXPECT_EQ(plan.counts.rows, 1);
}

TEST(Plan, ElseCopiesTakeTurnsByToken) {
  const auto placement = Placement::from_lists({{1}, {0}, {0}}, 2);
  const auto plan = make_plan(routing_of({{0}, {0}, {0}, {0}}), placement, 0, 0, 4, 0, false);
  EXPECT_THAT(plan.offer.results, ElementsAre(0, 2, 2));
}

TEST(Plan, CopiesThatGetTheRowAnywayTakeTurnsAsWell) {
  // Ranks 1 and 2 get every row for experts 1 and 2, and both have a copy of expert 0.
  const auto placement = Placement::from_lists({{3}, {0, 1}, {0, 2}}, 4);
  const auto token = std::vector<std::int32_t>{0, 1, 2};
  const auto plan =
      make_plan(routing_of({token, token, token, token}), placement, 0, 0, 4, 0, false);
  EXPECT_THAT(plan.offer.results, ElementsAre(0, 6, 6));
  EXPECT_EQ(plan.counts.rows, 8);
}

TEST(Plan, AChunkNumbersItsRowsAndSlotsFromItsOwnStart) {
  const auto plan =
      make_plan(routing_of({{0}, {1}, {0, 1}}), Placement::linear(2, 1), 0, 1, 2, 0, false);
  EXPECT_THAT(plan.offer.rows, ElementsAre(0, 1));
  EXPECT_THAT(plan.result_slots, ElementsAre(0, 1, 2));
  EXPECT_EQ(plan.counts.tokens, 2);
}

TEST(Plan, GatesTravelWithTheEntriesWhenTheWeightIsOnTheInput) {
  const auto routing = routing_of({{0}});
  const auto placement = Placement::linear(1, 1);
  EXPECT_EQ(entries_for(make_plan(routing, placement, 0, 0, 1, 0, true), 0)[0].gate, 0.5F);
  EXPECT_EQ(entries_for(make_plan(routing, placement, 0, 0, 1, 0, false), 0)[0].gate, 1.0F);
}

TEST(Plan, NoTokensAtAllIsAPlan) {
  const auto plan = make_plan(Routing{}, Placement::linear(2, 3), 1, 0, 0, 0, false);
  EXPECT_THAT(plan.offer.row_offsets, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(plan.counts.rows, 0);
}

TEST(Plan, AnExpertThatDoesNotExistIsRefusedByToken) {
  try {
    (void)make_plan(routing_of({{0}, {9}}), Placement::linear(8, 2), 0, 0, 2, 0, false);
    FAIL() << "nothing was thrown";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "plan: expert 9 of token 1, want 0 to 7");
  }
}

TEST(Stages, RowsComeInTheOrderOfTheirFirstNeedAndResultsByExpert) {
  // Experts 0 to 3 on rank 0, 4 to 7 on rank 1, two stages each. All tokens want rank 1:
  // token 0 experts 7 and 4, token 1 expert 6, token 2 expert 5.
  const auto placement = Placement::linear(8, 2);
  auto plan = make_plan(routing_of({{7, 4}, {6}, {5}}), placement, 0, 0, 3, 0, false);
  StageCutter().cut(plan, placement, 2);
  EXPECT_THAT(plan.offer.stage_rows, ElementsAre(0, 0, 2, 3));
  EXPECT_THAT(plan.offer.stage_results, ElementsAre(0, 0, 2, 4));
  EXPECT_THAT(plan.offer.rows, ElementsAre(0, 2, 1));
  EXPECT_THAT(plan.result_slots, ElementsAre(1, 3, 0, 2));
  const auto entries = entries_for(plan, 1);
  EXPECT_EQ(entries[0].expert, 4);
  EXPECT_EQ(entries[1].expert, 5);
  EXPECT_EQ(entries[1].row, 1);
  EXPECT_EQ(entries[2].expert, 7);
  EXPECT_EQ(entries[2].row, 0) << "the row is there since stage 0";
  EXPECT_EQ(entries[3].row, 2);
}

TEST(Stages, OneStageLeavesThePlanAsItWas) {
  const auto placement = Placement::linear(8, 3);
  const auto plan = make_plan(routing_of({{7, 4}, {6}, {5, 0}}), placement, 0, 0, 3, 0, false);
  auto cut = plan;
  StageCutter().cut(cut, placement, 1);
  EXPECT_EQ(cut.offer.rows, plan.offer.rows);
  EXPECT_EQ(cut.offer.notes, plan.offer.notes);
  EXPECT_EQ(cut.result_slots, plan.result_slots);
}

TEST(Stages, BothSidesCutTheSameExperts) {
  for (std::int64_t experts = 1; experts < 20; ++experts) {
    for (int stages = 1; stages < 9; ++stages) {
      EXPECT_EQ(first_of_stage(0, experts, stages), 0);
      EXPECT_EQ(first_of_stage(stages, experts, stages), experts);
      for (int s = 0; s < stages; ++s) {
        for (auto e = first_of_stage(s, experts, stages);
             e < first_of_stage(s + 1, experts, stages); ++e) {
          EXPECT_EQ(stage_of(e, experts, stages), s);
        }
      }
    }
  }
}
}  // namespace
}  // namespace switchyard::runtime
