// SPDX-License-Identifier: Apache-2.0
// `run` from outside: one digest for every way to run the same thing, another for anything else.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;

std::vector<std::string> small_run(std::vector<std::string> more = {}) {
  std::vector<std::string> words{"run",
                                 "--model",
                                 "deepseek-v3",
                                 "--set",
                                 "hidden_size=96",
                                 "--set",
                                 "moe_intermediate_size=80",
                                 "--set",
                                 "shared_intermediate_size=40",
                                 "--set",
                                 "routed_experts=40",
                                 "--set",
                                 "n_group=4",
                                 "--set",
                                 "topk_group=2",
                                 "--layers",
                                 "2",
                                 "--tokens",
                                 "67",
                                 "--steps",
                                 "2",
                                 "--json",
                                 "-"};
  words.insert(words.end(), more.begin(), more.end());
  return switchyard(words);
}

nlohmann::json result_of(int ranks, const std::vector<std::string>& words) {
  const Outcome outcome = run({.words = ranks > 0 ? mpirun(ranks, words) : words});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

std::string digest_of(int ranks, const std::vector<std::string>& more = {}) {
  return result_of(ranks, small_run(more)).value("output_digest", "none");
}

TEST(Digest, IsTheSameAtEveryRankCountAndWithoutMpirun) {
  const std::string alone = digest_of(0);
  EXPECT_EQ(alone.size(), 64U);
  for (const int ranks : {1, 2, 3, 5, 8}) EXPECT_EQ(digest_of(ranks), alone) << ranks << " ranks";
}

TEST(Digest, DoesNotDependOnHowTheLayerIsRun) {
  const std::string plain = digest_of(1);
  const std::vector<std::vector<std::string>> ways{
      {"--transport", "alltoallv"},
      {"--transport", "p2p"},
      {"--transport", "two-level"},
      {"--node-queue", "off"},
      {"--placement", "round-robin"},
      {"--chunk-tokens", "5"},
      {"--threads-per-rank", "3"},
      {"--isa", "portable"},
      {"--isa", "avx2"},
      {"--warmup", "0"},
  };
  for (const auto& way : ways) EXPECT_EQ(digest_of(3, way), plain) << way[0] << " " << way[1];
}

TEST(Digest, OfEveryStoredTypeAndMathIsTheSameAtEveryRankCount) {
  for (const char* math : {"float32", "native"}) {
    for (const char* weights : {"bfloat16", "float16", "int8"}) {
      const std::vector<std::string> way{"--weights", weights, "--math", math};
      const auto one = result_of(1, small_run(way));
      EXPECT_EQ(one["weights"], weights);
      EXPECT_EQ(one["math"], math);
      std::vector<std::string> other = way;
      other.insert(other.end(), {"--threads-per-rank", "2", "--chunk-tokens", "7"});
      EXPECT_EQ(digest_of(3, other), one["output_digest"]) << weights << " " << math;
      if (one["math_name"] == "float32" || one["math_name"] == "int8") {
        other.insert(other.end(), {"--isa", "portable"});
        EXPECT_EQ(digest_of(2, other), one["output_digest"]) << weights << " " << math;
      }
    }
  }
}

TEST(Digest, ChangesWithAnySeedTokenStepOrTopK) {
  const std::string plain = digest_of(1);
  const std::vector<std::vector<std::string>> others{{"--seed", "2"},
                                                     {"--set", "top_k=7"},
                                                     {"--routing", "uniform"},
                                                     {"--weights", "bfloat16"},
                                                     {"--routing", "zipf:1.2"}};
  for (const auto& other : others) EXPECT_NE(digest_of(1, other), plain) << other[1];
}

TEST(Digest, WithACapacityRuleOverTheWholeBatchIsTheSameAtEveryRankCount) {
  for (const char* rule : {"deepspeed-probs", "flaxformer", "device-budget"}) {
    const std::vector<std::string> way{
        "--capacity-rule",    rule,    "--capacity-factor", "0.75",  "--set",
        "scoring=softmax",    "--set", "n_group=1",         "--set", "topk_group=1",
        "--capacity-devices", "4"};
    const auto one = result_of(1, small_run(way));
    EXPECT_GT(one.value("dropped_per_step", 0.0), 0.0) << rule;
    EXPECT_EQ(digest_of(3, way), one["output_digest"]) << rule;
  }
}

TEST(Digest, IsTheSha256OfTheOutputFile) {
  const std::string file = testing::TempDir() + "rows.f32";
  const std::string digest = digest_of(3, {"--output", file});
  EXPECT_EQ(std::filesystem::file_size(file), 67U * 96U * 4U);
  const Outcome sum = run({.words = {"sha256sum", file}});
  EXPECT_EQ(sum.out.substr(0, 64), digest);
}

TEST(Run, ReadsItsTokensFromAFile) {
  const std::string file = testing::TempDir() + "tokens.f32";
  const std::string copy = testing::TempDir() + "again.f32";
  (void)digest_of(1, {"--output", file});
  const auto result = result_of(2, small_run({"--input", file, "--output", copy}));
  EXPECT_EQ(result["tokens_per_step"], 67);
  EXPECT_EQ(digest_of(3, {"--input", file}), result["output_digest"]);
}

TEST(Run, WithZeroTokensWorks) {
  const auto result =
      result_of(3, switchyard({"run", "--model", "olmoe", "--set", "hidden_size=8", "--set",
                               "moe_intermediate_size=8", "--tokens", "0", "--json", "-"}));
  EXPECT_EQ(result["slots_per_step"], 0.0);
}

TEST(Run, WithMoreRanksThanExpertsSaysThatSomeAreIdle) {
  const Outcome outcome =
      run({.words = mpirun(4, switchyard({"run", "--model", "mixtral-8x7b", "--set",
                                          "routed_experts=2", "--set", "hidden_size=8", "--set",
                                          "moe_intermediate_size=8", "--tokens", "9"}))});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err_lines("2 of 4 ranks hold no expert"), 1);
}

TEST(Run, FromACheckpointGivesOneDigestAtEveryRankCount) {
  for (const char* name : {"mixtral-tiny", "deepseek-v3-tiny", "gpt-oss-tiny",
                           "qwen3-moe-tiny-bf16", "qwen2-moe-tiny", "olmoe-tiny"}) {
    const std::string folder = std::string(SWITCHYARD_TEST_DATA) + "/golden/models/" + name;
    const auto words = switchyard({"run", "--checkpoint", folder, "--tokens", "21", "--json", "-"});
    const auto one = result_of(1, words);
    EXPECT_EQ(result_of(3, words)["output_digest"], one["output_digest"]) << name;
  }
}

TEST(Run, MoesOfEveryPresetRunWithTheirOwnRouterAndExperts) {
  const Outcome table = run({.words = switchyard({"models", "--json", "-"})});
  const auto models = nlohmann::json::parse(table.out, nullptr, false)["models"];
  ASSERT_EQ(models.size(), 30U);
  for (const auto& model : models) {
    const auto words = switchyard({"run", "--model", model["name"], "--set", "hidden_size=32",
                                   "--set", "moe_intermediate_size=16", "--tokens", "33", "--steps",
                                   "1", "--warmup", "0", "--json", "-"});
    const Outcome outcome = run({.words = words});
    EXPECT_EQ(outcome.status, 0) << model["name"] << outcome.err;
  }
}
}  // namespace
