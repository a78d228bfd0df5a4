// SPDX-License-Identifier: Apache-2.0
// `place` from outside: plans that `run` takes, verdicts, and what is refused.
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;

std::string write(const std::string& name, const std::string& text) {
  const std::string file = testing::TempDir() + name;
  std::ofstream(file) << text;
  return file;
}

Outcome place(std::vector<std::string> words) {
  words.insert(words.begin(), "place");
  return run({.words = switchyard(std::move(words))});
}

nlohmann::json json_of(std::vector<std::string> words) {
  words.insert(words.end(), {"--json", "-"});
  const Outcome outcome = place(std::move(words));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

/// The one line of stderr, without who speaks.
std::string error_of(std::vector<std::string> words) {
  const Outcome outcome = place(std::move(words));
  EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
  EXPECT_EQ(outcome.err_lines(""), 1) << outcome.err;
  const std::string who = "switchyard: error: ";
  const std::size_t begin = outcome.err.find(who);
  if (begin == std::string::npos) return outcome.err;
  return outcome.err.substr(begin + who.size(), outcome.err.find('\n') - begin - who.size());
}

const std::vector<std::string> kZipf{"--routing", "zipf:1.2", "--experts", "16",       "--top-k",
                                     "4",         "--layers", "2",         "--tokens", "512"};

std::vector<std::string> zipf(std::vector<std::string> words) {
  words.insert(words.end(), kZipf.begin(), kZipf.end());
  return words;
}

std::string digest_of(const std::string& placement, std::vector<std::string> more = {}) {
  std::vector<std::string> words{"run",
                                 "--model",
                                 "olmoe",
                                 "--set",
                                 "hidden_size=64",
                                 "--set",
                                 "moe_intermediate_size=32",
                                 "--set",
                                 "routed_experts=16",
                                 "--layers",
                                 "2",
                                 "--tokens",
                                 "67",
                                 "--steps",
                                 "1",
                                 "--routing",
                                 "zipf:1.2",
                                 "--placement",
                                 placement,
                                 "--json",
                                 "-"};
  words.insert(words.end(), more.begin(), more.end());
  const Outcome outcome = run({.words = mpirun(4, switchyard(words))});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false).value("output_digest", "none");
}

TEST(PlacePlan, MakesAFileThatRunTakesWithoutChangingABit) {
  const std::string plain = digest_of("linear");
  for (const char* policy : {"eplb", "search", "together"}) {
    const std::string file = testing::TempDir() + "plan.textproto";
    const auto plan = json_of(zipf({"plan", "--ranks", "4", "--ranks-per-node", "2", "--slots", "6",
                                    "--policy", policy, "--out", file}));
    EXPECT_EQ(plan["placements"].size(), 2U) << "one a layer";
    EXPECT_NE(plan["placements"][0]["experts_of_ranks"], plan["placements"][1]["experts_of_ranks"]);
    EXPECT_EQ(digest_of(file), plain) << policy;
    const auto verdict = json_of(
        zipf({"eval", "--ranks", "4", "--slots", "6", "--windows", "1", "--placement", file}));
    EXPECT_EQ(verdict["balancedness"], plan["balancedness"]) << policy;
  }
}

TEST(PlacePlan, ForAllLayersSuitsARunWithState) {
  const std::string shared = testing::TempDir() + "shared.textproto";
  const std::string own = testing::TempDir() + "own.textproto";
  const std::vector<std::string> plan{"plan", "--ranks", "4", "--slots", "6", "--out"};
  auto words = plan;
  words.insert(words.end(), {shared, "--shared"});
  EXPECT_EQ(place(zipf(words)).status, 0);
  words = plan;
  words.push_back(own);
  EXPECT_EQ(place(zipf(words)).status, 0);
  EXPECT_EQ(digest_of(shared, {"--stateful"}), digest_of("linear", {"--stateful"}));
  const Outcome refused =
      run({.words = mpirun(4, switchyard({"run", "--model", "olmoe", "--set", "routed_experts=16",
                                          "--tokens", "8", "--stateful", "--placement", own}))});
  EXPECT_EQ(refused.status, 2);
  EXPECT_EQ(refused.err_lines(own + ": layers have placements of their own, want one for all"), 1)
      << refused.err;
}

TEST(PlaceCompare, TriesEveryPolicyAndCountsTheSameTokens) {
  const auto all = json_of(zipf({"compare", "--ranks", "8", "--ranks-per-node", "4", "--slots", "3",
                                 "--row-bytes", "100", "--expert-bytes", "1000"}));
  ASSERT_EQ(all["policies"].size(), 9U);
  const double linear = all["policies"][0]["regret"];
  for (const auto& each : all["policies"]) {
    EXPECT_EQ(each["slots"], 4096);
    EXPECT_GE(each["regret"], 0.0) << each["name"];
    EXPECT_LE(each["regret"], linear) << each["name"];
    EXPECT_EQ(each["home"]["results"].get<int>() + each["node"]["results"].get<int>() +
                  each["fabric"]["results"].get<int>(),
              4096);
    EXPECT_EQ(
        each["fabric"]["bytes"].get<double>(),
        100.0 * (each["fabric"]["rows"].get<double>() + each["fabric"]["results"].get<double>()));
  }
}

TEST(PlaceEval, PlansAnewAndJudgesOnTheNextWindow) {
  const std::string table =
      write("drift.csv", "day,e0,e1,e2,e3\n1,8,1,1,1\n2,1,8,1,1\n3,1,1,8,1\n");
  const auto result = json_of({"eval", "--load", table, "--ranks", "2", "--slots", "3",
                               "--placement", "policy:search", "--windows", "3", "--top-k", "1",
                               "--expert-bytes", "50e9", "--row-bytes", "8"});
  ASSERT_EQ(result["windows"].size(), 2U);
  EXPECT_GT(result["regret"].get<double>(), result["hindsight_regret"].get<double>());
  EXPECT_EQ(result["windows"][1]["first_step"], 2);
  EXPECT_GT(result["migration"]["stall_s"].get<double>(), 0);
}

TEST(Place, RefusesBadPlansAndLoads) {
  const auto table = write("loads.csv", "e0,e1,e2,e3\n5,1,1,1\n1,1,1,5\n");
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"--load", table, "--ranks", "2"});
    return error_of(std::move(words));
  };
  const auto file = [&](const std::string& text) {
    return with({"eval", "--placement", write("bad.textproto", text)});
  };
  const std::string bad = testing::TempDir() + "bad.textproto";
  EXPECT_EQ(file("rank { expert: [0, 1, 2, 3] }"), bad + ": placement for 1 ranks, want 2");
  EXPECT_EQ(file("rank { expert: [0, 1] } rank { expert: [2, 9] }"),
            bad + ": placement: expert 9 on rank 1, want 0 to 3");
  EXPECT_EQ(file("rank { expert: [0, 1] } rank { expert: [2, 2, 3] }"),
            bad + ": placement: expert 2 is twice on rank 1, want at most one copy a rank");
  EXPECT_EQ(file("rank { expert: [0, 1] } rank { expert: [2] }"),
            bad + ": placement: expert 3 has no host, want at least one rank");
  EXPECT_EQ(file("rank { expert: [0, 1] } rank { expert: [1, 2, 3] }"),
            "place: rank 1 of layer 0 holds 3 copies, want at most 2, its slots");
  EXPECT_EQ(file("version: 3"), bad + ": placement format version 3, want at most 2");
  EXPECT_EQ(file("layer { number: 1 } layer { number: 1 }"), bad + ": layer 1 is there twice");
  EXPECT_EQ(file("layer { number: -4 }"), bad + ": layer -4, want a number from 0");
  EXPECT_EQ(file("layer { number: 7 rank { expert: 0 } }"), bad + ": no placement for layer 0");
  EXPECT_EQ(file("layer { number: 0 rank { expert: 0 } }"),
            bad + ": layer 0: placement for 1 ranks, want 2");
  EXPECT_EQ(with({"eval", "--placement", "liner"}),
            "placement: got 'liner', want linear, round-robin or a file that exists");
  EXPECT_EQ(
      with({"plan", "--slots", "1"}),
      "place: 1 slots on each of 2 ranks hold 2 copies, want at least 4, one of every expert");
  EXPECT_EQ(with({"plan", "--ranks-per-node", "3"}),
            "--ranks-per-node: got 3, want at most 2, the ranks");
  EXPECT_EQ(with({"plan", "--groups", "3"}), "--groups: got 3, want a divisor of 4, the experts");
  EXPECT_EQ(with({"plan", "--top-k", "5"}),
            "--top-k: got 5, want at most 4, the experts of " + table);
  EXPECT_EQ(with({"plan", "--top-k", "2"}),
            table +
                ": layer 0: a token chooses expert 0 1.25 times, want at most once (another "
                "--top-k)");
  EXPECT_EQ(with({"compare", "--windows", "3"}),
            "--windows: got 3, want 1 to 2, the steps there are");
  EXPECT_EQ(with({"plan", "--routing", "uniform"}),
            "place: got 2 of --trace, --load and --routing, want one");
  EXPECT_EQ(with({"plan", "--model", "olmoe"}),
            "--model: olmoe-1b-7b-0924 has 64 experts, want 4, as the tokens");
  EXPECT_EQ(error_of({"plan"}), "place: got 0 of --trace, --load and --routing, want one");
  EXPECT_EQ(error_of({"plan", "--routing", "model"}),
            "--routing: got 'model', want uniform or zipf:S: there are no weights");
}
}  // namespace
