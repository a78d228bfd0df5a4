// SPDX-License-Identifier: Apache-2.0
// `simulate --fast` from outside: the closed form, beside the simulation where both can say.
#include <cstdio>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/simulated_work.hpp"

namespace {
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::simulated;
using switchyard::tests::switchyard;

TEST(SimulateFast, EstimatesInClosedFormToo) {
  const auto result = simulated({"--fast", "--routing", "uniform", "--ranks", "64", "--machine",
                                 "dgx-h100", "--weights", "bfloat16"});
  EXPECT_EQ(result.value("engine", ""), "closed form");
  EXPECT_GT(result.value("simulated_step_s", 0.0), 0.0);
}

TEST(SimulateFast, TheClosedFormOfARelayPutsItsBytesOnTheSameTiers) {
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

TEST(SimulateFast, EstimatesFromTracesOfCountsAndWithAPlacementForEachLayer) {
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
}  // namespace
