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
  const auto alike = simulated({"--transport", "p2p", "--ranks", "4"});
  EXPECT_EQ(alike.value("output_digest", "none"), real.value("output_digest", "nothing"));
  EXPECT_EQ(alike.value("wire_bytes", -1.0), real.value("wire_bytes", -2.0));
  EXPECT_EQ(simulated({"--ranks", "7"}).value("output_digest", "none"),
            real.value("output_digest", "nothing"));
}

TEST(Simulate, TakesTheSameTimeTwiceBitForBit) {
  const auto once = simulated({"--ranks", "5"});
  const auto twice = simulated({"--ranks", "5"});
  EXPECT_GT(once.value("simulated_s", 0.0), 0.0);
  EXPECT_EQ(once.value("simulated_s", 0.0), twice.value("simulated_s", 1.0));
  EXPECT_EQ(once["phases"], twice["phases"]);
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
