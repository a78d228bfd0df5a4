// SPDX-License-Identifier: Apache-2.0
// switchyard-sim from outside: the same work as `run`, on ranks that are actors of one process.
// Each simulation is a process of its own, for its engine is there only once.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;
using testing::Not;

/// What a real and a simulated run are both asked for.
std::vector<std::string> small_work(const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"--model",  "deepseek-v3",
                                 "--set",    "hidden_size=96",
                                 "--set",    "moe_intermediate_size=80",
                                 "--set",    "shared_intermediate_size=40",
                                 "--set",    "routed_experts=40",
                                 "--set",    "n_group=4",
                                 "--set",    "topk_group=2",
                                 "--layers", "2",
                                 "--tokens", "67",
                                 "--steps",  "2",
                                 "--json",   "-"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> simulator(std::vector<std::string> words) {
  words.insert(words.begin(), SWITCHYARD_SIM_PROGRAM);
  return words;
}

nlohmann::json result_of(const std::vector<std::string>& words) {
  const Outcome outcome = run({.words = words});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

nlohmann::json simulated(const std::vector<std::string>& more) {
  return result_of(simulator(small_work(more)));
}

nlohmann::json really(int ranks, const std::vector<std::string>& more) {
  auto words = small_work(more);
  words.insert(words.begin(), "run");
  return result_of(mpirun(ranks, switchyard(words)));
}

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

TEST(Simulate, EstimatesInClosedFormToo) {
  const auto result = simulated({"--fast", "--routing", "uniform", "--ranks", "64", "--machine",
                                 "dgx-h100", "--weights", "bfloat16"});
  EXPECT_EQ(result.value("engine", ""), "closed form");
  EXPECT_GT(result.value("simulated_step_s", 0.0), 0.0);
}

TEST(Simulate, TheClosedFormOfARelayPutsItsBytesOnTheSameTiers) {
  const std::vector<std::string> work{"--routing", "zipf:1.0", "--ranks",     "6",
                                      "--machine", "cpu-100g", "--transport", "relay"};
  auto fast = work;
  fast.insert(fast.end(), {"--fast", "--weights", "bfloat16"});
  const auto faithful = simulated(work);
  const auto closed = simulated(fast);
  double tiers = 0;
  for (const auto& tier : closed["tiers"]) {
    const double bytes = 2 * tier["bytes"].get<double>();  // of two steps
    const double carried = faithful["tier_bytes"].value(tier.value("tier", ""), -1.0);
    EXPECT_NEAR(bytes, carried, 0.05 * carried) << tier;  // notes are reckoned a little smaller
    tiers += bytes;
  }
  EXPECT_GT(tiers, 0);
}

TEST(Simulate, EstimatesFromTracesOfCountsAndWithAPlacementForEachLayer) {
  const std::string folder = testing::TempDir() + "simulate_fast.";
  const std::string trace = folder + "trace";
  const std::string placement = folder + "placement";
  const auto ok = [](std::vector<std::string> words) {
    const Outcome outcome = run({.words = switchyard(std::move(words))});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
  };
  for (const bool counts : {false, true}) {
    std::remove(trace.c_str());
    std::remove(placement.c_str());
    std::vector<std::string> synth{"trace",    "synth",       "--workload", "zipf:1.0",
                                   "--model",  "deepseek-v3", "--set",      "routed_experts=40",
                                   "--set",    "n_group=4",   "--set",      "topk_group=2",
                                   "--layers", "2",           "--steps",    "2",
                                   "--tokens", "512",         "--output",   trace};
    if (counts) synth.emplace_back("--counts");
    ok(synth);
    ok({"place", "plan", "--policy", "longest-first", "--trace", trace, "--ranks", "8", "--out",
        placement});
    const std::vector<std::string> work{"--fast",    "--machine", "cpu-100g",  "--ranks",       "8",
                                        "--weights", "bfloat16",  "--routing", "trace:" + trace};
    auto planned = work;
    planned.insert(planned.end(), {"--placement", placement});
    const auto linear = simulated(work);
    const auto best = simulated(planned);
    EXPECT_EQ(linear.value("tokens", 0), 512);
    EXPECT_GT(best.value("balancedness", 0.0), 1.5 * linear.value("balancedness", 1.0)) << counts;
    EXPECT_LT(best.value("simulated_step_s", 1.0), linear.value("simulated_step_s", 0.0)) << counts;
  }
}

struct Refusal {
  std::vector<std::string> more;
  std::string words;
};

TEST(Simulate, RefusesWhatWouldGiveWrongFigures) {
  const std::vector<Refusal> cases{
      {{"--routing", "uniform", "--transport", "p2p", "--ranks", "65"}, "--allow-floods"},
      {{"--routing", "uniform", "--simgrid", "smpi/test:1e-4"}, "--allow-poll-costs"},
      {{"--routing", "uniform", "--transport", "two-level"}, "want relay or p2p"},
      {{"--routing", "uniform", "--transport", "alltoallv"}, "want relay or p2p"},
      {{"--routing", "model"}, "--numerics"},
      {{"--routing", "uniform", "--of-layers", "1"}, "--of-layers"},
      {{"--routing", "uniform", "--threads-per-rank", "2"}, "--threads-per-rank"},
      {{"--routing", "uniform", "--machine", "abacus"}, "abacus"}};
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
