// SPDX-License-Identifier: Apache-2.0
// switchyard-sim from outside: the same work as `run`, on ranks that are actors of one process.
// Each simulation is a process of its own, for its engine is there only once.
#include <algorithm>
#include <array>
#include <fstream>
#include <gmock/gmock.h>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/launch/simulated_work.hpp"
#include "tests/runtime/trace_check.hpp"

namespace {
using switchyard::tests::Outcome;
using switchyard::tests::really;
using switchyard::tests::result_of;
using switchyard::tests::run;
using switchyard::tests::simulated;
using switchyard::tests::simulator;
using switchyard::tests::small_work;
using switchyard::tests::switchyard;
using testing::HasSubstr;
using testing::Not;

TEST(Simulate, ComputesTheBitsOfARealRun) {
  const auto real = really(4, {"--transport", "p2p"});
  const std::string digest = real.value("output_digest", "nothing");
  const auto alike = simulated({"--numerics", "--transport", "p2p", "--ranks", "4"});
  EXPECT_EQ(alike.value("output_digest", "none"), digest);
  EXPECT_EQ(alike.value("wire_bytes", -1.0), real.value("wire_bytes", -2.0));
  const auto relayed = simulated({"--numerics", "--transport", "relay", "--ranks", "7"});
  EXPECT_EQ(relayed.value("transport", ""), "relay");
  EXPECT_EQ(relayed.value("output_digest", "none"), digest);
}

TEST(Simulate, SendsBetweenEveryTwoRanksWhatARealRunSends) {
  const std::vector<std::string> routed{"--routing", "zipf:1.0", "--transport", "p2p"};
  auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), routed.begin(), routed.end());
    return more;
  };
  const auto real = really(4, with({"--warmup", "0"}));
  ASSERT_EQ(real.value("bytes_between_ranks", nlohmann::json()).size(), 4U);
  EXPECT_GT(real["bytes_between_ranks"][0][1].get<std::int64_t>(), 0);
  const auto modelled = simulated(with({"--ranks", "4"}));
  const auto computed = simulated(with({"--ranks", "4", "--numerics"}));
  EXPECT_EQ(modelled["bytes_between_ranks"], real["bytes_between_ranks"]);
  EXPECT_EQ(computed["bytes_between_ranks"], real["bytes_between_ranks"]);
  EXPECT_EQ(modelled["rows_per_rank"], real["rows_per_rank"]);
  EXPECT_EQ(modelled["wire_bytes"], real["wire_bytes"]);
  EXPECT_EQ(modelled.value("output_digest", "none"), "");
}

TEST(Simulate, CountsEveryByteInTheTierThatItCrosses) {
  const auto result = simulated(
      {"--routing", "uniform", "--ranks", "6", "--machine", "cpu-100g", "--transport", "relay"});
  double tiers = 0;
  for (const auto& bytes : result["tier_bytes"]) tiers += bytes.get<double>();
  double pairs = 0;
  for (const auto& from : result["bytes_between_ranks"]) {
    for (const auto& bytes : from) pairs += bytes.get<double>();
  }
  EXPECT_EQ(result.value("nodes", 0), 3);
  EXPECT_GT(tiers, 0);
  EXPECT_EQ(tiers, pairs);
  EXPECT_EQ(result.value("wire_bytes", 0.0) * 2, pairs);  // two steps
}

TEST(Simulate, TakesLongerWhereTheMachineIsSlower) {
  const std::vector<std::string> work{"--routing", "uniform", "--ranks", "8"};
  const auto step_s = [&](std::vector<std::string> more) {
    more.insert(more.end(), work.begin(), work.end());
    return simulated(more).value("simulated_step_s", 0.0);
  };
  const double network = step_s({"--no-compute"});
  EXPECT_GT(network, 0);
  const auto computed = simulated({"--routing", "uniform", "--ranks", "8"});
  EXPECT_GT(computed.value("simulated_step_s", 0.0), network);
  for (const auto& phase : computed["phases"]) {
    const std::string name = phase["name"];
    const bool nothing = name == "route" || name == "plan";  // which the machine has no rate for
    EXPECT_EQ(phase["slowest_rank_ms"].get<double>() > 0, !nothing) << name;
  }
  EXPECT_GT(step_s({"--no-compute", "--machine", "netns-40m", "--weights", "float32"}),
            100 * network);
}

TEST(Simulate, StandsForLayersThatAreLikeThoseItSimulated) {
  const std::vector<std::string> work{"--routing", "uniform", "--ranks", "4"};
  const auto result_with = [&](std::vector<std::string> more) {
    more.insert(more.end(), work.begin(), work.end());
    return simulated(more);
  };
  const auto two = result_with({});
  const auto twenty = result_with({"--of-layers", "20"});
  EXPECT_DOUBLE_EQ(twenty.value("simulated_step_s", 0.0), 10 * two.value("simulated_step_s", 1.0));
  EXPECT_EQ(twenty.value("layers", 0), 20);
  EXPECT_EQ(twenty.value("layers_simulated", 0), 2);
}

TEST(Simulate, LayersThatAreLeftOutWouldHaveBeenLikeThoseThatAreNot) {
  const std::vector<std::string> work{
      "--routing", "uniform",   "--ranks",  "32",      "--machine", "h800",  "--tokens",
      "1024",      "--weights", "bfloat16", "--steps", "1",         "--set", "hidden_size=2048"};
  const auto step_s = [&](const std::vector<std::string>& layers) {
    auto words = layers;
    words.insert(words.begin(), work.begin(), work.end());
    return simulated(words).value("simulated_step_s", 0.0);
  };
  const double all = step_s({"--layers", "24"});
  const double some = step_s({"--layers", "4", "--of-layers", "24"});
  EXPECT_GT(all, 0);
  EXPECT_NEAR(some / all, 1, 0.02);
}

/// With the real dimensions: a row is 28 KiB, and a node has a card a rank.
void expect_closed_form(const std::vector<std::string>& how, const std::string& seed) {
  std::vector<std::string> work{"--model",   "deepseek-v3", "--routing", "uniform", "--machine",
                                "h800",      "--tokens",    "8192",      "--ranks", "64",
                                "--weights", "bfloat16",    "--seed",    seed,      "--json",
                                "-",         "--transport", how.front()};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), work.begin(), work.end());
    return result_of(simulator(more));
  };
  const auto fast = with({"--fast"});
  std::vector<std::string> more(how.begin() + 1, how.end());
  more.emplace_back("--no-compute");
  const auto faithful = with(more);
  for (const char* const name : {"dispatch", "combine"}) {
    const auto ms = [&](const nlohmann::json& result) {
      for (const auto& phase : result["phases"]) {
        if (phase["name"] == name) return phase["slowest_rank_ms"].get<double>();
      }
      return 0.0;
    };
    EXPECT_GT(ms(fast), 0) << name;
    EXPECT_NEAR(ms(faithful) / ms(fast), 1, 0.02) << how.front() << ' ' << name << ", " << seed;
  }
}

TEST(Simulate, AgreesWithTheClosedFormAt64Ranks) {
  for (const char* const seed : {"1", "2"}) {
    expect_closed_form({"p2p", "--window", "63"}, seed);  // all flows at once
    expect_closed_form({"relay"}, seed);
  }
}

TEST(Simulate, FewerFramesUnderWayTakeLongerAndCarryTheSame) {
  const auto with = [](const std::string& window, const std::string& transport) {
    return simulated({"--routing", "uniform", "--ranks", "24", "--machine", "h800", "--tokens",
                      "768", "--window", window, "--transport", transport, "--no-compute",
                      "--weights", "bfloat16"});
  };
  for (const char* const transport : {"p2p", "relay"}) {
    const auto one = with("1", transport);
    const auto many = with("23", transport);
    EXPECT_GT(one.value("simulated_s", 0.0), many.value("simulated_s", 1.0)) << transport;
    EXPECT_EQ(one["bytes_between_ranks"], many["bytes_between_ranks"]) << transport;
  }
}

TEST(Simulate, SaysWhereTheTimeWentAndWhichLinksWereBusy) {
  const auto result = simulated({"--routing", "zipf:1.0", "--ranks", "8", "--machine", "cpu-100g",
                                 "--tokens", "512", "--weights", "float32", "--links", "1000"});
  double path = 0;
  for (const auto& part : result["critical_path"]["parts"]) path += part["seconds"].get<double>();
  const double all = result.value("simulated_s", 0.0);
  EXPECT_NEAR(path / all, 1, 0.02);  // what is left: MPI's own beginning
  double ended = 0;
  for (const auto& stretch : result["critical_path"]["stretches"]) {
    EXPECT_GE(stretch["begin_s"].get<double>(), ended * (1 - 1e-9)) << stretch;
    ended = stretch["end_s"].get<double>();
  }
  double out_of_cards = 0;
  for (const auto& link : result["links"]) {
    EXPECT_LE(link["utilisation"].get<double>(), 1 + 1e-6) << link;
    const std::string name = link["name"];
    if (name.starts_with("card") && name.ends_with("out")) {
      out_of_cards += link["bytes"].get<double>();
    }
  }
  const double between =
      result["tier_bytes"]["rack"].get<double>() + result["tier_bytes"]["fabric"].get<double>();
  EXPECT_GT(between, 0);
  EXPECT_DOUBLE_EQ(2 * out_of_cards, between);  // a step, of two
  for (const auto& phase : result["phases"]) {
    const std::string name = phase["name"];
    const auto& ranks = result["phase_ms_by_rank"][name];
    ASSERT_EQ(ranks.size(), 8U);
    double most = 0;
    for (const auto& ms : ranks) most = std::max(most, ms.get<double>());
    EXPECT_DOUBLE_EQ(most, phase["slowest_rank_ms"].get<double>()) << name;
  }
}

TEST(Simulate, TellsWhatOneChangeWouldDo) {
  const std::vector<std::string> names{"perfect-balance", "infinite-network", "no-deduplication",
                                       "one-level",       "two-level",        "round-robin"};
  std::vector<std::string> words{
      "--routing", "zipf:1.2",    "--ranks", "16",        "--machine", "h800",  "--tokens",
      "2048",      "--transport", "relay",   "--weights", "bfloat16",  "--set", "hidden_size=2048"};
  for (const std::string& name : names) {
    words.push_back("--what-if");
    words.push_back(name);
  }
  const auto result = simulated(words);
  ASSERT_EQ(result["what_if"].size(), names.size());
  std::map<std::string, double> over;
  for (const auto& other : result["what_if"]) {
    over[other["name"]] = other["over_this"].get<double>();
  }
  EXPECT_LT(over["perfect-balance"], 1);
  EXPECT_LT(over["infinite-network"], 1);
  EXPECT_GT(over["no-deduplication"], 1);
  EXPECT_NE(over["one-level"], 1);
  EXPECT_EQ(over["two-level"], 1);  // which it is
  EXPECT_NE(over["round-robin"], 1);
  EXPECT_GT(over["round-robin"], 0);
}

TEST(Simulate, ReplaysATraceWhoseStepsHaveOtherTokens) {
  const std::string trace = testing::TempDir() + "/ragged.trace";
  const Outcome made =
      run({.words = switchyard({"trace", "synth", "--workload", "ragged:0.5", "--experts", "40",
                                "--top-k", "8", "--layers", "2", "--tokens", "90", "--steps", "3",
                                "--output", trace})});
  ASSERT_EQ(made.status, 0) << made.err;
  const std::vector<std::string> replay{"--routing", "trace:" + trace, "--steps", "3", "--warmup",
                                        "0",         "--transport",    "p2p"};
  const auto real = really(2, replay);
  auto words = replay;
  words.insert(words.end(), {"--ranks", "2"});
  const auto modelled = simulated(words);
  EXPECT_EQ(modelled["bytes_between_ranks"], real["bytes_between_ranks"]);
  EXPECT_EQ(modelled["rows_per_rank"], real["rows_per_rank"]);
  words.emplace_back("--numerics");
  EXPECT_EQ(simulated(words).value("output_digest", "none"), real.value("output_digest", ""));
}

struct Refusal {
  std::vector<std::string> more;
  std::string words;
};

TEST(Simulate, TakesWhatWouldGiveWrongFiguresIfItIsTold) {
  const auto flood = simulated({"--routing", "uniform", "--transport", "p2p", "--ranks", "66",
                                "--steps", "1", "--layers", "1", "--allow-floods"});
  EXPECT_EQ(flood.value("ranks", 0), 66);
  const auto polls = simulated({"--routing", "uniform", "--ranks", "2", "--simgrid",
                                "smpi/test:1e-4", "--allow-poll-costs"});
  EXPECT_EQ(polls.value("ranks", 0), 2);
}

TEST(Simulate, RefusesWhatWouldGiveWrongFigures) {
  // SimGrid itself ends at it.
  const std::string dragonfly = testing::TempDir() + "/dragonfly.textproto";
  std::ofstream(dragonfly)
      << "version: 1 name: \"d\" nodes: 2 ranks_per_node: 1 rack { gigabytes_per_s: 1 } "
         "fabric { gigabytes_per_s: 1 } dragonfly { groups: 16 routers_per_chassis: 8 "
         "nodes_per_router: 1 } rate { gigaflops: 1 }";
  const std::vector<Refusal> cases{
      {{"--routing", "uniform", "--transport", "p2p", "--ranks", "65"}, "--allow-floods"},
      {{"--routing", "uniform", "--simgrid", "smpi/test:1e-4"}, "--allow-poll-costs"},
      {{"--routing", "uniform", "--transport", "two-level"}, "want relay or p2p"},
      {{"--routing", "uniform", "--transport", "alltoallv"}, "want relay or p2p"},
      {{"--routing", "model"}, "--numerics"},
      {{"--routing", "uniform", "--of-layers", "1"}, "--of-layers"},
      {{"--routing", "uniform", "--threads-per-rank", "2"}, "--threads-per-rank"},
      {{"--routing", "uniform", "--numerics", "--window", "1"}, "--window"},
      {{"--routing", "uniform", "--transport", "relay", "--ranks", "65", "--what-if", "one-level"},
       "--allow-floods"},
      {{"--routing", "uniform", "--trace", "t.json", "--fast", "--ranks", "4"}, "--fast"},
      {{"--trace", "t.json", "--numerics"}, "--numerics"},
      {{"--routing", "uniform", "--record-trace", "t.trace"}, "--record-trace"},
      {{"--routing", "uniform", "--machine", "abacus"}, "abacus"},
      {{"--routing", "uniform", "--machine", dragonfly}, "want at most"}};
  for (const Refusal& one : cases) {
    const Outcome outcome = run({.words = simulator(small_work(one.more))});
    EXPECT_EQ(outcome.status, 2) << one.words << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("switchyard: error: "));
    EXPECT_THAT(outcome.err, HasSubstr(one.words));
  }
}

TEST(Simulate, IsACommandOfTheRealProgram) {
  auto words = small_work({"--routing", "uniform", "--ranks", "4", "--set", "top_k=4"});
  words.insert(words.begin(), "simulate");
  const auto asked = result_of(switchyard(words));
  EXPECT_EQ(asked.value("engine", ""), "faithful");
  const Outcome refused = run({.words = switchyard({"simulate", "--model", "olmoe"})});
  EXPECT_EQ(refused.status, 2);
  EXPECT_EQ(refused.err_lines("switchyard: error: "), 1) << refused.err;
}

TEST(Simulate, TakesTheSameTimeTwiceBitForBit) {
  for (const char* const how : {"--numerics", "--warmup=1"}) {
    const auto once = simulated({"--ranks", "5", "--routing", "uniform", how});
    const auto twice = simulated({"--ranks", "5", "--routing", "uniform", how});
    EXPECT_GT(once.value("simulated_s", 0.0), 0.0);
    EXPECT_EQ(once.value("simulated_s", 0.0), twice.value("simulated_s", 1.0));
    EXPECT_EQ(once["phases"], twice["phases"]);
  }
}

TEST(Simulate, WritesATimelineOfItsRanksOnTheSimulatedClock) {
  const std::string file = testing::TempDir() + "simulate_timeline.json";
  const auto result =
      simulated({"--routing", "uniform", "--transport", "p2p", "--ranks", "5", "--trace", file});
  const auto trace = nlohmann::json::parse(std::ifstream(file), nullptr, false);
  ASSERT_TRUE(trace.is_object());
  switchyard::tests::expect_sound(trace, 5, 1);
  EXPECT_EQ(trace["otherData"]["clock_error_us"], 0.0);
  EXPECT_EQ(trace["otherData"]["events"], result.value("trace_events", 0));
  // The phase that the report has is the one that is drawn.
  double longest_us = 0;
  for (const auto& [lane, events] : switchyard::tests::by_lane(trace)) {
    double dispatch_us = 0;
    for (const auto& event : events) {
      if (event["name"] == "dispatch") dispatch_us += event["dur"].get<double>();
    }
    longest_us = std::max(longest_us, dispatch_us);
  }
  double reported_ms = 0;
  for (const auto& phase : result["phases"]) {
    if (phase["name"] == "dispatch") reported_ms = phase["slowest_rank_ms"];
  }
  EXPECT_GT(reported_ms, 0);
  EXPECT_NEAR(longest_us / 2e3, reported_ms, 1e-5);  // a step of two
}

TEST(Simulate, HasOneMpiInEachProgram) {
  const auto libraries = [](const std::string& program) {
    const Outcome outcome = run({.words = {"ldd", program}});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_THAT(libraries(SWITCHYARD_SIM_PROGRAM), HasSubstr("libsimgrid"));
  EXPECT_THAT(libraries(SWITCHYARD_SIM_PROGRAM), Not(HasSubstr("libmpi")));
  EXPECT_THAT(libraries(SWITCHYARD_PROGRAM), Not(HasSubstr("libsimgrid")));
}
}  // namespace
