// SPDX-License-Identifier: Apache-2.0
// `run --serve` and `generate --serve` from outside, with ranks that are killed in the middle.
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/launch/program.hpp"

namespace {
using nlohmann::json;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;
using Words = std::vector<std::string>;

constexpr int kExperts = 12;

/// Under mpirun, which lets ranks die.
Outcome served(int ranks, const Words& words) {
  Words line{"mpirun", "--enable-recovery", "--oversubscribe", "-n", std::to_string(ranks)};
  const Words program = switchyard(words);
  line.insert(line.end(), program.begin(), program.end());
  return run({.words = line, .limit = std::chrono::seconds(60)});
}

Words generate(const Words& more) {
  Words words{"generate",
              "--model",
              "olmoe",
              "--layers",
              "2",
              "--prompt-tokens",
              "5,9,3,1",
              "--temperature",
              "1",
              "--serve",
              "--max-new-tokens",
              "20",
              "--serve-deadline",
              "30"};
  for (const char* field : {"hidden_size=32", "vocab_size=64", "num_heads=4", "num_kv_heads=2",
                            "head_dim=8", "routed_experts=12", "top_k=3"}) {
    words.insert(words.end(), {"--set", field});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

json result_of(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return outcome.status == 0 ? json::parse(outcome.out) : json();
}

/// Expert e on rank e mod ranks and the next one.
std::string two_copies(int ranks, int experts = kExperts) {
  const std::string file =
      testing::TempDir() + "serve_copies_" + std::to_string(ranks) + "_" + std::to_string(experts);
  std::ofstream text(file);
  text << "version: 1\n";
  for (int rank = 0; rank < ranks; ++rank) {
    text << "rank {";
    for (int e = 0; e < experts; ++e) {
      if (e % ranks == rank || (e + 1) % ranks == rank) text << " expert: " << e;
    }
    text << " }\n";
  }
  return file;
}

class ServedGenerate : public testing::TestWithParam<int> {};

TEST_P(ServedGenerate, HasTheSameTokensWhenARankWithReplicasIsKilled) {
  const int ranks = GetParam();
  const json want = result_of(served(1, generate({"--json", "-"})));
  for (const char* fault :
       {"kill@rank=0,phase=combine,nth=9", "kill@rank=1,phase=experts,nth=21"}) {
    const json got = result_of(served(
        ranks, generate({"--placement", two_copies(ranks), "--inject", fault, "--json", "-"})));
    ASSERT_FALSE(got.is_null());
    EXPECT_EQ(got["ids"], want["ids"]) << fault;
    EXPECT_EQ(got["serve"]["members"].size(), static_cast<std::size_t>(ranks) - 1) << fault;
    EXPECT_EQ(got["serve"]["degraded"]["slots"], 0);
    EXPECT_GT(got["read_again"]["tokens"], 0);
  }
}

TEST_P(ServedGenerate, NamesTheExpertsThatAKilledRankTookAway) {
  const int ranks = GetParam();
  const json got = result_of(
      served(ranks, generate({"--placement", "round-robin", "--serve-reload", "off", "--inject",
                              "kill@rank=1,phase=experts,nth=9", "--json", "-"})));
  ASSERT_FALSE(got.is_null());
  std::set<int> named;
  for (const json& layer : got["serve"]["degraded"]["layers"]) {
    for (const json& one : layer["experts"]) named.insert(one["expert"].get<int>());
  }
  std::set<int> lost;
  for (int e = 1; e < kExperts; e += ranks) lost.insert(e);
  EXPECT_EQ(named, lost);
  for (const json& sequence : got["sequences"]) {
    EXPECT_EQ(sequence["ids"].size(), 20U);
    EXPECT_GT(sequence["ids_while_masked"], 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, ServedGenerate, testing::Values(3, 4));

/// A whole model and how many experts it has.
struct Whole {
  const char* kind;
  const char* name;
  int experts;
};

class ServedModel : public testing::TestWithParam<Whole> {};

// States that can be taken back, ones with a window, latents, and ones that cannot (Mamba).
TEST_P(ServedModel, HasTheSameTokensWhenARankIsKilled) {
  const Words words{"generate",
                    "--checkpoint",
                    std::string(SWITCHYARD_TEST_DATA) + "/golden/" + GetParam().name,
                    "--tokenizer",
                    "none",
                    "--prompt-ids",
                    "1,2,3;4;5,6,7,8,9;3,1",
                    "--max-new-tokens",
                    "24",
                    "--temperature",
                    "1",
                    "--serve",
                    "--serve-deadline",
                    "30",
                    "--json",
                    "-"};
  const json want = result_of(served(1, words));
  Words killed = words;
  killed.insert(killed.end(), {"--placement", two_copies(3, GetParam().experts), "--inject",
                               "kill@rank=0,phase=combine,nth=25"});
  const json got = result_of(served(3, killed));
  ASSERT_FALSE(got.is_null());
  EXPECT_EQ(got["ids"], want["ids"]);
  EXPECT_EQ(got["serve"]["members"].size(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ServedModel,
                         testing::Values(Whole{"window", "models/gpt-oss-tiny", 8},
                                         Whole{"latent", "models/deepseek-v3-tiny", 16},
                                         Whole{"mamba", "oracle/jamba-tiny", 5}),
                         [](const auto& one) { return std::string(one.param.kind); });

TEST(Served, SaysInWordsWhatWasLostAndWhatItCost) {
  const Outcome outcome = served(3, generate({"--placement", "round-robin", "--serve-reload", "off",
                                              "--inject", "kill@rank=0,phase=experts,nth=9"}));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("3 ranks began, 2 are left (ranks 1 and 2)"));
  EXPECT_THAT(outcome.out, HasSubstr("tokens were chosen while experts were masked"));
  EXPECT_THAT(outcome.out, HasSubstr("read again"));
  EXPECT_THAT(outcome.err, HasSubstr("rank 0 lost, 2 ranks go on"));
  EXPECT_THAT(outcome.err, HasSubstr("masked, for nobody has them: experts 0, 3, 6, 9"));
}

TEST(Served, EndsThoughASpareThatNobodyNeededIsStopped) {
  // The last rank stops itself after a while; without anybody who kills it, mpirun waits for good.
  const std::string stopping =
      "if [ $OMPI_COMM_WORLD_RANK = 2 ]; then"
      " (sleep 1.5; kill -STOP $$) & fi; exec \"$@\"";
  Words line{"mpirun", "--enable-recovery", "--oversubscribe", "-n", "3", "sh", "-c", stopping,
             "sh"};
  const Words program =
      switchyard({"run", "--model", "olmoe", "--set", "hidden_size=32", "--set",
                  "routed_experts=12", "--set", "top_k=3", "--layers", "1", "--tokens", "32",
                  "--steps", "8000", "--serve", "--spares", "1"});
  line.insert(line.end(), program.begin(), program.end());
  const Outcome outcome = run({.words = line, .limit = std::chrono::seconds(60)});
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_THAT(outcome.out, HasSubstr("2 ranks began, 2 are left"));
}

TEST(Served, RefusesWhatALostRankWouldTakeAlong) {
  const auto refused = [](const Words& more) {
    return run({.words = mpirun(2, switchyard(generate(more)))});
  };
  const Outcome stats = refused({"--routing-stats"});
  EXPECT_EQ(stats.status, 2);
  EXPECT_THAT(stats.err, HasSubstr("--routing-stats: got it with --serve"));
  const Outcome lazy = refused({"--pack", "lazy"});
  EXPECT_EQ(lazy.status, 2);
  EXPECT_THAT(lazy.err, HasSubstr("want --pack eager"));
}
}  // namespace
