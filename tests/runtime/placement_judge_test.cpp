// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "workloads.hpp"

#include "runtime/placement/judge/judge.hpp"
#include "runtime/placement/judge/rebalance.hpp"

namespace switchyard::runtime {
namespace {
using testing::ElementsAre;

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::string write(const std::string& name, const std::string& text) {
  const std::string file = testing::TempDir() + name;
  std::ofstream(file) << text;
  return file;
}

TEST(DrawTokens, GiveEachExpertItsShareAndNoneTwiceInAToken) {
  const std::vector<double> loads{8, 4, 2, 1, 1};  // of 16: expert 0 in every token of two slots
  const auto routing = draw_tokens(loads, 2, 16000, 1, 0, "here");
  ASSERT_EQ(routing.tokens(), 16000);
  const auto drawn = load_of(std::span(&routing, 1), 5);
  for (std::size_t e = 0; e < loads.size(); ++e) EXPECT_NEAR(drawn[e] / 2000, loads[e], 0.1) << e;
  EXPECT_EQ(drawn[0], 16000);
  for (std::size_t t = 0; t < 16000; ++t) {
    EXPECT_NE(routing.experts[2 * t], routing.experts[2 * t + 1]);
  }
  EXPECT_EQ(draw_tokens(loads, 2, 100, 1, 0, "here").experts,
            std::vector(routing.experts.begin(), routing.experts.begin() + 200));
  EXPECT_NE(draw_tokens(loads, 2, 100, 1, 1, "here").experts,
            draw_tokens(loads, 2, 100, 1, 0, "here").experts);
}

TEST(DrawTokens, OfALoadThatNoTokenCouldMakeAreRefused) {
  EXPECT_EQ(refusal([] {
              (void)draw_tokens({9, 1, 1, 1}, 2, 4, 1, 0, "a.csv: layer 3");
            }),
            "a.csv: layer 3: a token chooses expert 0 1.5 times, want at most once (another "
            "--top-k)");
}

TEST(LoadTable, NamesStepsByItsOtherColumnsAndReadsSlotsFromMeans) {
  const auto file = write("loads.csv",
                          "domain,\"tokens\",layer,e0,e1,e2\n"
                          "\"law, old\",100,3,1.0,0.5,0.5\n\"law, old\",100,5,0.5,0.5,1.0\n"
                          "math,50,3,0.8,0.7,0.5\nmath,50,5,0.7,0.3,1.0\n");
  const auto steps = table_steps(file, 0, {.tokens = 200});
  EXPECT_EQ(steps->steps(), 2);
  EXPECT_EQ(steps->layers(), 2);
  EXPECT_EQ(steps->experts(), 3);
  EXPECT_EQ(steps->layer_number(1), 5);
  const auto routing = steps->routing(0, 0);
  EXPECT_EQ(routing.tokens(), 200);
  EXPECT_EQ(routing.slots(), 400) << "means that sum to 2";
  EXPECT_EQ(load_of(std::span(&routing, 1), 3)[0], 200);
}

TEST(LoadTable, WithoutOtherColumnsBeginsAStepWhereALayerComesAgain) {
  const auto steps = table_steps(write("plain.csv", "e0,e1\n3,1\n1,3\n2,2\n"), 0, {.tokens = 64});
  EXPECT_EQ(steps->steps(), 3);
  EXPECT_EQ(steps->routing(0, 0).slots(), 64);
}

TEST(LoadTable, ThatIsWrongIsRefusedByLine) {
  const auto why = [](const std::string& text) {
    const auto file = write("bad.csv", text);
    const auto words = refusal([&] { (void)table_steps(file, 0, {}); });
    return words.starts_with(file) ? words.substr(file.size()) : words;
  };
  EXPECT_EQ(why(""), ": empty, want a header");
  EXPECT_EQ(why("layer,load\n1,2\n"),
            ":1: no column e0, want e0, e1, ... with the load of each expert");
  EXPECT_EQ(why("e0,e1,e0\n"), ":1: a column is there twice");
  EXPECT_EQ(why("e0,e1\n"), ": a header only, want rows");
  EXPECT_EQ(why("e0,e1\n1,2,3\n"), ":2: 3 columns, want 2");
  EXPECT_EQ(why("e0,e1\n1,2\n1,-2\n"), ":3: e1 is '-2', want a number from 0");
  EXPECT_EQ(why("e0,e1\n1,nan\n"), ":2: e1 is 'nan', want a number from 0");
  EXPECT_EQ(why("day,layer,e0\n1,0,1\n1,0,1\n"), ":3: layer 0 is there twice in a step");
  EXPECT_EQ(why("day,layer,e0\n1,0,1\n1,1,1\n2,0,1\n"), ": step 1 has other layers than the first");
  EXPECT_EQ(refusal([] { (void)table_steps("/nowhere/a.csv", 0, {}); }).substr(0, 14),
            "/nowhere/a.csv");
}

TEST(Windows, AreAsEqualAsCanBe) {
  const auto windows = cut_windows(7, 3);
  EXPECT_THAT((std::vector{windows[0].count, windows[1].count, windows[2].count}),
              ElementsAre(3, 2, 2));
  EXPECT_EQ(windows[2].first, 5);
  EXPECT_EQ(refusal([] { (void)cut_windows(2, 3); }),
            "--windows: got 3, want 1 to 2, the steps there are");
}

TEST(Migration, TakesCopiesFromTheSameNodeWhereItCan) {
  const MachineShape shape{.ranks = 4, .ranks_per_node = 2, .slots = 2};
  const auto before = Placement::from_lists({{0}, {1}, {2}, {3}}, 4);
  const auto after = Placement::from_lists({{0, 1}, {1}, {2, 0}, {3}}, 4);
  const Migration moved = migration_of(before, after, shape, 100, {.node = 50, .fabric = 10});
  EXPECT_EQ(moved.copies_in_node, 1);
  EXPECT_EQ(moved.copies_across, 1);
  EXPECT_DOUBLE_EQ(moved.received_s[0], 2);
  EXPECT_DOUBLE_EQ(moved.received_s[2], 10);
  EXPECT_DOUBLE_EQ(moved.sent_s[0], 10);
  EXPECT_DOUBLE_EQ(moved.stall_s(), 10);
  EXPECT_EQ(migration_of(after, after, shape, 100, {}).copies(), 0);
}

/// Loads that turn round: what was hot is cold in the next step.
class Turning final : public TokenSteps {
 public:
  std::int64_t steps() const override { return 3; }
  std::int64_t layers() const override { return 2; }
  std::int64_t experts() const override { return 16; }
  std::int64_t layer_number(std::int64_t layer) const override { return layer + 3; }
  experts::Routing routing(std::int64_t step, std::int64_t layer) override {
    std::vector<double> loads(16, 1);
    loads[static_cast<std::size_t>((5 * step + layer) % 16)] = 12;
    return draw_tokens(loads, 1, 4000, 1, static_cast<std::uint64_t>(step), "turning");
  }
  std::string origin() const override { return "turning"; }
};

TEST(Judge, JudgesThePlanOfThePastOnTheFuture) {
  Turning steps;
  JudgeSettings settings;
  settings.shape = {.ranks = 4, .ranks_per_node = 2, .slots = 6};
  settings.expert_bytes = 1000;
  const auto trials = judge(steps, cut_windows(3, 3),
                            {{.name = "search", .policy = policy_from("search")},
                             {.name = "linear", .policy = policy_from("linear")}},
                            settings);
  ASSERT_EQ(trials.size(), 2U);
  ASSERT_EQ(trials[0].windows.size(), 2U);
  for (const auto& [window, verdict, hindsight, migration] : trials[0].windows) {
    EXPECT_GT(verdict.regret(), 0.2) << "the load has turned";
    EXPECT_LT(hindsight.regret(), 0.05);
    EXPECT_EQ(verdict.slots, 8000);
    EXPECT_EQ(verdict.mean_rows, 2000);
    EXPECT_GT(migration.copies(), 0);
    EXPECT_EQ(verdict.home.results + verdict.node.results + verdict.fabric.results, 8000);
  }
  for (const auto& window : trials[1].windows) {
    EXPECT_EQ(window.migration.copies(), 0);
    EXPECT_EQ(window.verdict.slowest_rows, window.hindsight.slowest_rows);
    EXPECT_EQ(window.verdict.most_copies, 8) << "four in each of two layers";
  }
}

TEST(Judge, EveryPolicyBeatsLinearOnGptOssInTheNextDomains) {
  const auto steps =
      table_steps(SWITCHYARD_TEST_DATA "/runtime/loads/gpt-oss-20b.csv", 0, {.tokens = 1024});
  ASSERT_EQ(steps->steps(), 8);
  ASSERT_EQ(steps->layers(), 4);
  JudgeSettings settings;
  settings.shape = {.ranks = 8, .ranks_per_node = 4, .slots = 6};
  std::vector<Contender> contenders;
  for (const auto& policy : policies()) {
    contenders.push_back({.name = std::string(policy.name), .policy = policy});
  }
  const auto trials = judge(*steps, cut_windows(8, 2), contenders, settings);
  const Verdict& linear = trials[0].windows[0].verdict;
  for (std::size_t i = 1; i < trials.size(); ++i) {
    const auto& window = trials[i].windows[0];
    if (trials[i].name == "round-robin") continue;  // as blind to the load as linear
    EXPECT_GE(window.verdict.regret(), 0) << trials[i].name;
    EXPECT_LT(window.verdict.slowest_rows, linear.slowest_rows) << trials[i].name;
    EXPECT_LT(window.hindsight.slowest_rows, linear.slowest_rows) << trials[i].name;
  }
}

TEST(Judge, RefusesAPlacementThatDoesNotFit) {
  Turning steps;
  JudgeSettings settings;
  settings.shape = {.ranks = 2, .ranks_per_node = 2, .slots = 8};
  std::vector<std::int32_t> all(16);
  std::iota(all.begin(), all.end(), 0);
  const Placement full = Placement::from_lists({all, {0}}, 16);
  EXPECT_EQ(
      refusal([&] {
        (void)judge(steps, cut_windows(3, 1), {{.name = "full", .fixed = {full, full}}}, settings);
      }),
      "place: rank 0 of layer 3 holds 16 copies, want at most 8, its slots");
}
TEST(Migration, ACopyComesFromItsNodeOrElseFromWhoSendsLeast) {
  const MachineShape shape{.ranks = 4, .ranks_per_node = 2, .slots = 3};
  const Placement before = Placement::from_lists({{0, 1}, {0}, {0, 2}, {3}}, 4);
  const Placement after = Placement::from_lists({{1}, {0, 2}, {2, 3}, {0, 1, 3}}, 4);
  std::vector<std::vector<int>> moves;
  for (const CopyMove& move : moves_between(before, after, shape)) {
    moves.push_back({move.expert, move.from, move.to});
  }
  EXPECT_THAT(moves, ElementsAre(std::vector{2, 2, 1}, std::vector{3, 3, 2}, std::vector{0, 2, 3},
                                 std::vector{1, 0, 3}));
}

TEST(Migration, ListsStayNearWhatTheirRanksHave) {
  const MachineShape shape{.ranks = 4, .ranks_per_node = 2, .slots = 2};
  const Placement before = Placement::from_lists({{0, 1}, {2, 3}, {4, 5}, {6, 7}}, 8);
  // As a policy that knows no ranks has it: the same lists in another order, one pair exchanged.
  const Placement after = Placement::from_lists({{2, 3}, {0, 1}, {6, 5}, {4, 7}}, 8);
  const Placement near = keep_near(before, after, shape);
  EXPECT_EQ(near, Placement::from_lists({{0, 1}, {2, 3}, {5, 6}, {4, 7}}, 8));
  EXPECT_EQ(moves_between(before, near, shape).size(), 2U);
  EXPECT_EQ(keep_near(before, before, shape), before);
}

TEST(Rebalance, CountsTheLastStepsOnly) {
  RecentLoad recent(1, 2, 2);
  recent.add({{100, 0}});
  recent.add({{1, 2}});
  recent.add({{3, 4}});
  EXPECT_EQ(recent.steps(), 2);
  EXPECT_THAT(recent.of(0).rows, ElementsAre(4, 6));
  EXPECT_EQ(refusal([&] { recent.add({{1, 2}, {3, 4}}); }), "rebalance: load of 2 layers, want 1");
  EXPECT_EQ(refusal([&] { recent.add({{1}}); }), "rebalance: load of 1 experts, want 2");
}

TEST(Rebalance, RefusesAPlanThatDoesNotPayForItsMigration) {
  RecentLoad recent(1, 4, 4);
  recent.add({{90, 90, 10, 10}});
  const MachineShape shape{.ranks = 2, .ranks_per_node = 2, .slots = 2};
  const std::vector<Placement> now{Placement::linear(4, 2)};
  const std::vector<Placement> plan{Placement::from_lists({{0, 2}, {1, 3}}, 4)};
  // 80 rows of 1 us a step are saved; two copies of 1000 bytes at 1e6 bytes a second take 1 ms.
  RebalanceCosts costs{.row_s = 1e-6,
                       .expert_bytes = 1000,
                       .links = {.node = 1e6, .fabric = 1e6},
                       .pays_within = 12};
  const auto dear = decide(recent, now, plan, shape, costs);
  EXPECT_FALSE(dear.moves);
  EXPECT_EQ(dear.words,
            "rebalance: 2 copies to move hold steps up for 1 ms and save 0.08 ms a step: pays "
            "after 12.5 steps, want at most 12: experts stay");
  costs.pays_within = 13;
  EXPECT_TRUE(decide(recent, now, plan, shape, costs).moves);
  costs.pays_within = 7;
  costs.overlap = 0.5;
  EXPECT_TRUE(decide(recent, now, plan, shape, costs).moves);
  EXPECT_EQ(decide(recent, plan, now, shape, costs).words,
            "rebalance: 2 copies to move hold steps up for 0.5 ms and save nothing: experts stay");
  EXPECT_FALSE(decide(recent, plan, plan, shape, costs).moves);
}
}  // namespace
}  // namespace switchyard::runtime
