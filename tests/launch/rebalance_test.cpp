// SPDX-License-Identifier: Apache-2.0
// `run --rebalance` from outside: experts move while it goes on, and no bit changes.
#include <algorithm>
#include <filesystem>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/launch/stateful_run.hpp"

namespace switchyard::tests {
namespace {
using testing::HasSubstr;
using Words = std::vector<std::string>;

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// Moves whatever moving it costs; the first few experts have most of the tokens.
const Words kSkewed{"--steps", "24", "--routing", "zipf:1.5", "--node-queue", "off"};
const Words kMoving{"--rebalance",        "eplb", "--rebalance-every",       "4",
                    "--rebalance-window", "4",    "--rebalance-pays-within", "1000000000"};

nlohmann::json result_of(int ranks, const Words& words, bool stateful) {
  const Words line = stateful_run(words, stateful ? "--stateful" : "");
  const Outcome outcome = run({.words = mpirun(ranks, line)});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out, nullptr, false);
  EXPECT_TRUE(json.is_object()) << outcome.out;
  return json.is_object() ? json : nlohmann::json::object();
}

Ended end_of(const nlohmann::json& json) {
  return {.output = json.value("output_digest", ""), .state = json.value("state_digest", "")};
}

/// @param more  after kSkewed and kMoving
void expect_moved(int ranks, const Words& more, bool stateful, const Ended& want) {
  const auto json = result_of(ranks, joined(joined(kSkewed, kMoving), more), stateful);
  const std::string what = std::to_string(ranks) + " ranks, " + testing::PrintToString(more);
  EXPECT_EQ(end_of(json), want) << what;
  const auto moved = json.value("rebalancing", nlohmann::json::object());
  EXPECT_GE(moved.value("rebalances", 0), 1) << what << ": " << moved;
  EXPECT_GE(moved.value("placement_epoch", 0), 1) << what;
  EXPECT_GT(moved.value("migration_bytes", 0.0), 0) << what;
  if (stateful) return;  // its experts are given all the same, but let the state tests be quick
  EXPECT_GT(moved.value("balancedness_after", 0.0), moved.value("balancedness_before", 1.0))
      << what;
  EXPECT_LT(moved.value("busiest_rows_after", 0.0), moved.value("busiest_rows_before", 0.0))
      << what;
}

TEST(Rebalance, ChangesNoBitAtAnyRankCount) {
  const Ended stays = end_of(result_of(1, kSkewed, false));
  for (const int ranks : {2, 3, 4, 5, 8}) {
    expect_moved(ranks, {"--rebalance-slots", "5"}, false, stays);
  }
  const auto alone = result_of(1, joined(kSkewed, kMoving), false);
  EXPECT_EQ(end_of(alone), stays);
  EXPECT_EQ(alone["rebalancing"]["rebalances"], 0) << "there is nowhere to go";
}

TEST(Rebalance, ChangesNoBitOfWeightsThatChangeWhileTheyMove) {
  const Ended stays = end_of(result_of(1, kSkewed, true));
  for (const int ranks : {2, 3, 5, 8}) {
    expect_moved(ranks, {"--rebalance-slots", "5"}, true, stays);
  }
  expect_moved(4, {"--rebalance-slots", "2"}, true, stays);
  expect_moved(3, {"--rebalance-copy", "sync", "--rebalance-slots", "4"}, true, stays);
}

TEST(Rebalance, ChangesNoBitHoweverItIsRun) {
  const Ended stays = end_of(result_of(1, kSkewed, false));
  const std::vector<Words> ways{
      {"--transport", "p2p", "--rebalance-slots", "4"},
      {"--transport", "alltoallv", "--rebalance-slots", "4"},
      {"--transport", "two-level", "--rebalance-slots", "4"},
      {"--transport", "relay", "--rebalance-slots", "4"},
      {"--rebalance-copy", "sync", "--rebalance-slots", "4"},
      {"--chunk-tokens", "5", "--threads-per-rank", "2", "--rebalance-slots", "4"},
  };
  for (const Words& way : ways) expect_moved(3, way, false, stays);
}

TEST(Rebalance, CopesWithMoreRanksThanExpertsAndWithNoTokens) {
  const Ended stays = end_of(result_of(1, kSkewed, false));
  expect_moved(10, {"--rebalance-slots", "2"}, false, stays);
  for (const char* const tokens : {"0", "1"}) {
    const Words few = joined(kSkewed, {"--tokens", tokens});
    const auto json = result_of(4, joined(few, kMoving), false);
    EXPECT_EQ(end_of(json), end_of(result_of(1, few, false))) << tokens << " tokens";
    if (*tokens == '0') {
      EXPECT_EQ(json["rebalancing"]["rebalances"], 0);
    }
    EXPECT_GE(json["rebalancing"]["looks"], 3);
  }
}

TEST(Rebalance, FollowsAHotSpotThatMoves) {
  const TempFolder folder;
  const std::string trace = (folder / "rotating.trace").string();
  const Outcome made =
      run({.words = switchyard({"trace", "synth", "--workload", "rotating:0.6:16", "--experts", "8",
                                "--top-k", "3", "--layers", "2", "--tokens", "67", "--steps", "64",
                                "--output", trace})});
  ASSERT_EQ(made.status, 0) << made.err;
  const Words given{"--steps",      "64",  "--routing", "trace:" + trace,
                    "--node-queue", "off", "--tokens",  "67"};
  const Ended stays = end_of(result_of(1, given, false));
  const auto json = result_of(4, joined(joined(given, kMoving), {"--rebalance-slots", "3"}), false);
  EXPECT_EQ(end_of(json), stays);
  EXPECT_GE(json["rebalancing"]["rebalances"], 3) << json["rebalancing"];
  const auto& plans = json["rebalancing"]["plans"];
  ASSERT_GE(plans.size(), 3U);
  for (const auto& plan : plans) {
    if (!plan.contains("switched_at_step")) continue;
    EXPECT_GT(plan["switched_at_step"], plan["step"]) << "steps went on while experts moved";
  }
  EXPECT_EQ(end_of(result_of(4, joined(joined(given, kMoving), {"--rebalance-slots", "3"}), true)),
            end_of(result_of(1, given, true)));
}

TEST(Rebalance, RefusesAPlanThatDoesNotPayAndSaysSo) {
  const Ended stays = end_of(result_of(1, kSkewed, false));
  const Words dear{"--rebalance",       "eplb", "--rebalance-every",     "8",
                   "--rebalance-slots", "4",    "--rebalance-bandwidth", "0.000001"};
  const Outcome outcome = run({.words = mpirun(3, stateful_run(joined(kSkewed, dear), ""))});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(end_of(json), stays);
  EXPECT_EQ(json["rebalancing"]["rebalances"], 0);
  EXPECT_EQ(json["rebalancing"]["migration_bytes"], 0);
  EXPECT_EQ(json["rebalancing"]["placement_epoch"], 0);
  const int refused = json["rebalancing"]["refused"];
  EXPECT_GE(refused, 2);
  EXPECT_EQ(outcome.err_lines("steps, want at most 200: experts stay"), refused) << outcome.err;
}

TEST(Rebalance, ASavedRunGoesOnFromItsPlacement) {
  const TempFolder folder;
  const Words save{"--save-to", (folder / "saved").string()};
  Words half =
      joined(kMoving, {"--node-queue", "off", "--routing", "zipf:1.5", "--rebalance-slots", "4"});
  half.insert(half.end(), save.begin(), save.end());
  const auto first = result_of(3, joined({"--steps", "14"}, half), true);
  const std::uint64_t epoch = first["rebalancing"]["placement_epoch"];
  EXPECT_GE(epoch, 1U);
  const Outcome info = run({.words = switchyard({"checkpoint", "info", save[1], "--json", "-"})});
  EXPECT_THAT(info.out, HasSubstr("\"placement_epoch\": " + std::to_string(epoch)));

  const std::filesystem::path other = folder / "other";
  std::filesystem::copy(folder / "saved", other, std::filesystem::copy_options::recursive);
  const Ended stays = end_of(result_of(1, kSkewed, true));
  // The same ranks: where it was, without a plan of its own.
  const Words watch{"--rebalance", "eplb", "--rebalance-every", "1000", "--rebalance-slots", "4"};
  const auto again = result_of(3, joined(joined(kSkewed, watch), save), true);
  EXPECT_EQ(again["first_step"], 14);
  EXPECT_EQ(end_of(again), stays);
  EXPECT_EQ(again["rebalancing"]["placement_epoch"], epoch);
  EXPECT_EQ(again["rebalancing"]["looks"], 0);
  EXPECT_GT(again["rebalancing"]["balancedness_after"], first["rebalancing"]["balancedness_before"])
      << "it began with the experts where they had come to";
  // Others: from --placement, as a new epoch.
  const auto five =
      result_of(5, joined(joined(kSkewed, watch), {"--save-to", other.string()}), true);
  EXPECT_EQ(five["first_step"], 14);
  EXPECT_EQ(end_of(five), stays);
  EXPECT_EQ(five["rebalancing"]["placement_epoch"], epoch + 1);
}

TEST(Rebalance, WhatCannotBeIsRefusedInOneLine) {
  struct Case {
    Words more;
    std::string words;
  };
  const std::vector<Case> cases{
      {{"--rebalance", "lpt2"}, "--rebalance: got 'lpt2', want "},
      {{"--rebalance-every", "4"}, "--rebalance-every: got it without --rebalance, want both"},
      {{"--rebalance", "eplb"}, "want --node-queue off"},
      {{"--rebalance", "eplb", "--node-queue", "off", "--rebalance-slots", "2"},
       "--rebalance-slots: got 2, want at least 3"},
      {{"--rebalance", "eplb", "--combine", "presum"}, "want exact"},
      {{"--rebalance", "eplb", "--pack-cache", "/tmp/nowhere"}, "with --pack-cache"},
      {{"--rebalance", "eplb", "--node-queue", "off", "--pack", "lazy"}, "--pack eager"},
      {{"--rebalance", "eplb", "--serve"}, "with --serve"},
      {{"--rebalance", "eplb", "--rebalance-bandwidth", "0"}, "--rebalance-bandwidth: got 0"},
      {{"--rebalance", "eplb", "--rebalance-window", "0"}, "--rebalance-window: got '0'"},
      {{"--rebalance", "eplb", "--rebalance-copy", "later"}, "--rebalance-copy: got 'later'"},
  };
  for (const Case& one : cases) {
    const Outcome outcome = run({.words = mpirun(3, stateful_run(one.more, ""))});
    EXPECT_EQ(outcome.status, 2) << one.words << "\n" << outcome.err;
    EXPECT_EQ(outcome.err_lines("switchyard: error: "), 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(one.words));
  }
}
}  // namespace
}  // namespace switchyard::tests
