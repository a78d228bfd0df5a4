// SPDX-License-Identifier: Apache-2.0
// Whole tiny models from outside: every official one passes at every rank count with the same
// logits, bit for bit; what is spoiled is caught; a checkpoint that does not fit says what is
// wrong.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/launch/program.hpp"

namespace {

using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;

const std::string kModels = std::string(SWITCHYARD_TEST_DATA) + "/golden/models";

Outcome verify(int ranks, const std::string& path, std::vector<std::string> more = {}) {
  std::vector<std::string> words{"verify", "golden", path, "--json", "-"};
  words.insert(words.end(), more.begin(), more.end());
  return run({.words = mpirun(ranks, switchyard(words)), .limit = std::chrono::seconds(120)});
}

std::map<std::string, std::string> digests(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  std::map<std::string, std::string> result;
  const auto json = nlohmann::json::parse(outcome.out);
  for (const auto& each : json["results"]) result[each["name"]] = each["logits_digest"];
  return result;
}

TEST(WholeModels, PassAndHaveTheSameLogitsOnAnyNumberOfRanks) {
  const auto alone = digests(verify(1, kModels));
  EXPECT_EQ(alone.size(), 7U);
  for (const int ranks : {2, 3, 5}) EXPECT_EQ(digests(verify(ranks, kModels)), alone) << ranks;
}

TEST(WholeModels, SettingsChangeNoBit) {
  const std::string model = kModels + "/mixtral-tiny";
  const auto plain = digests(verify(1, model));
  EXPECT_EQ(digests(verify(3, model,
                           {"--transport", "alltoallv", "--chunk-tokens", "3", "--placement",
                            "round-robin", "--threads-per-rank", "2", "--isa", "portable"})),
            plain);
}

class SpoiledModel : public testing::TestWithParam<const char*> {};
TEST_P(SpoiledModel, IsCaught) {
  const Outcome outcome = verify(2, kModels + "/qwen2-moe-tiny", {"--inject", GetParam()});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
}
INSTANTIATE_TEST_SUITE_P(Stages, SpoiledModel,
                         testing::Values("kernel", "plan", "router", "combine"),
                         [](const auto& stage) { return std::string(stage.param); });

/// A copy of a model whose config.json has other settings.
std::string changed(const std::string& name, const nlohmann::json& settings) {
  const std::filesystem::path folder = testing::TempDir() + "changed-" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::copy(kModels + "/" + name, folder);
  auto config = nlohmann::json::parse(std::ifstream(folder / "config.json"));
  config.update(settings);
  std::ofstream(folder / "config.json") << config;
  return folder.string();
}

TEST(OtherSettings, AreNotPassedOver) {
  const std::map<std::string, nlohmann::json> cases = {{"mixtral-tiny", {{"rope_theta", 100.0}}},
                                                       {"olmoe-tiny", {{"clip_qkv", 0.3}}},
                                                       {"qwen2-moe-tiny", {{"rms_norm_eps", 0.1}}},
                                                       {"gpt-oss-tiny", {{"sliding_window", 3}}},
                                                       {"arctic-tiny", {{"sliding_window", 4}}}};
  for (const auto& [name, settings] : cases) {
    const Outcome outcome = verify(2, changed(name, settings));
    EXPECT_EQ(outcome.status, 1) << name << outcome.out << outcome.err;
  }
}

TEST(Checkpoints, ThatDoNotFitNameTheTensorAndItsFile) {
  const std::map<std::string, nlohmann::json> cases = {
      {"embed_tokens", {{"vocab_size", 95}}},
      {"model.layers.2.", {{"num_hidden_layers", 3}}},
      {"q_proj.bias", {{"attention_bias", true}}}};
  for (const auto& [words, settings] : cases) {
    const std::string folder = changed("olmoe-tiny", settings);
    const Outcome outcome = verify(2, folder);
    EXPECT_EQ(outcome.status, 2) << words << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(words));
    EXPECT_THAT(outcome.err, HasSubstr(folder));
  }
  const Outcome extra = verify(1, changed("qwen2-moe-tiny", {{"qkv_bias", false}}));
  EXPECT_EQ(extra.status, 2) << extra.out << extra.err;
  EXPECT_THAT(extra.err, HasSubstr("model.layers.0.self_attn.k_proj.bias: unexpected"));
}
}  // namespace
