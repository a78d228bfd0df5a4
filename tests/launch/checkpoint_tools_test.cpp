// SPDX-License-Identifier: Apache-2.0
// checkpoint import, export, reshard, diff, verify, info from outside: what comes back is what went
// in.
#include <filesystem>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace {
namespace fs = std::filesystem;
using switchyard::tests::Outcome;
using switchyard::tests::read_file;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using switchyard::tests::TempFolder;
using switchyard::tests::write_file;
using testing::HasSubstr;

const fs::path kModels = SWITCHYARD_TEST_DATA "/golden/models";

class CheckpointTools : public testing::Test {
 protected:
  std::string path(const std::string& name) { return (folder_ / name).string(); }

  nlohmann::json must(std::vector<std::string> words, int status = 0) {
    words.insert(words.begin(), "checkpoint");
    words.insert(words.end(), {"--json", "-"});
    const Outcome outcome = run({.words = switchyard(words)});
    EXPECT_EQ(outcome.status, status) << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, false);
  }

  /// A stateful run on one rank.
  nlohmann::json run_to(const std::string& steps, const std::vector<std::string>& model,
                        const std::string& saved) {
    std::vector<std::string> words{"run",       "--tokens", "16",     "--steps",
                                   steps,       "--warmup", "0",      "--stateful",
                                   "--save-to", saved,      "--json", "-"};
    words.insert(words.end(), model.begin(), model.end());
    const Outcome outcome = run({.words = switchyard(words)});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, false);
  }

  TempFolder folder_;
};

TEST_F(CheckpointTools, AReleasedFolderGoesInAndOutBitForBit) {
  for (const char* model :
       {"mixtral-tiny", "deepseek-v3-tiny", "gpt-oss-tiny", "qwen3-moe-tiny-bf16"}) {
    const std::string saved = path(std::string("saved-") + model);
    const std::string out = path(std::string("out-") + model);
    must({"import", (kModels / model).string(), "--output", saved, "--files", "3"});
    must({"verify", saved});
    must({"export", saved, "--output", out});
    int files = 0;
    for (const auto& entry : fs::directory_iterator(out)) {
      EXPECT_EQ(read_file(entry.path()), read_file(kModels / model / entry.path().filename()))
          << model << " " << entry.path().filename();
      ++files;
    }
    EXPECT_EQ(files, 4) << model;  // two shards, their index, config.json
  }
}

TEST_F(CheckpointTools, ARunGoesToReleasedWeightsAndBackAndGoesOnBitForBit) {
  for (const char* name : {"mixtral-tiny", "olmoe-tiny", "deepseek-v3-tiny", "qwen3-moe-tiny-bf16",
                           "qwen2-moe-tiny"}) {
    const std::string model = (kModels / name).string();
    const std::string saved = path(std::string("run-") + name);
    const std::string out = path(std::string("weights-") + name);
    const std::string back = path(std::string("back-") + name);
    run_to("2", {"--checkpoint", model}, saved);
    must({"export", saved, "--output", out, "--like", model});
    const auto again = must({"import", out, "--output", back, "--files", "3"});
    EXPECT_EQ(again["step"], 2);
    EXPECT_TRUE(must({"diff", saved, back}).value("equal", false)) << name;
    EXPECT_EQ(again["content_sha256"], must({"info", saved})["content_sha256"]) << name;
    const auto whole = run_to("4", {"--checkpoint", model}, path(std::string("whole-") + name));
    const auto resumed = run_to("4", {"--checkpoint", model}, back);
    EXPECT_EQ(resumed["first_step"], 2) << name;
    EXPECT_EQ(resumed["state_digest"], whole["state_digest"]) << name;
    // What it learnt is in the weights: a run that begins with them begins with another state.
    const auto begun = run_to("1", {"--checkpoint", out}, path(std::string("begun-") + name));
    EXPECT_NE(begun["state_digest"], run_to("1", {"--checkpoint", model},
                                            path(std::string("first-") + name))["state_digest"]);
  }
}

TEST_F(CheckpointTools, ARunOfSyntheticWeightsGoesOutAndBackUnderItsOwnNames) {
  const std::vector<std::string> model{"--model",        "olmoe", "--set",
                                       "hidden_size=16", "--set", "moe_intermediate_size=8",
                                       "--layers",       "2"};
  run_to("2", model, path("saved"));
  must({"export", path("saved"), "--output", path("out"), "--file-bytes", "64K"});
  must({"import", path("out"), "--output", path("back")});
  EXPECT_TRUE(must({"diff", path("saved"), path("back")}).value("equal", false));
  const auto whole = run_to("3", model, path("whole"));
  const auto resumed = run_to("3", model, path("back"));
  EXPECT_EQ(resumed["first_step"], 2);
  EXPECT_EQ(resumed["state_digest"], whole["state_digest"]);
}

TEST_F(CheckpointTools, ARunHasNoPlaceInOtherWeights) {
  const auto refusal = [&](const std::string& saved, const std::string& like) {
    const Outcome outcome = run({.words = switchyard({"checkpoint", "export", saved, "--output",
                                                      path("out"), "--like", like})});
    EXPECT_EQ(outcome.status, 2);
    fs::remove(path("out"));  // empty
    return outcome.err;
  };
  run_to("1", {"--checkpoint", (kModels / "gpt-oss-tiny").string()}, path("gpt"));
  EXPECT_THAT(refusal(path("gpt"), (kModels / "gpt-oss-tiny").string()),
              HasSubstr("gate_bias: has no tensor to itself among released weights of gpt_oss"));
  EXPECT_THAT(refusal(path("gpt"), (kModels / "olmoe-tiny").string()),
              HasSubstr("olmoe-tiny: model "));
}

TEST_F(CheckpointTools, AnotherModelDoesNotTakeThePlaceOfAGoodStep) {
  const std::string to = path("a");
  const auto first = must({"import", (kModels / "mixtral-tiny").string(), "--output", to});
  must({"import", (kModels / "mixtral-tiny").string(), "--output", to, "--files", "2"});
  const std::vector<std::string> other = {
      "checkpoint", "import", (kModels / "qwen3-moe-tiny-bf16").string(), "--output", to};
  const Outcome outcome = run({.words = switchyard(other)});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("step-000000000000 exists, is good, and has other content"));
  EXPECT_EQ(must({"info", to})["content_sha256"], first["content_sha256"]);
  must({"import", (kModels / "qwen3-moe-tiny-bf16").string(), "--output", to, "--overwrite"});
  EXPECT_NE(must({"info", to})["content_sha256"], first["content_sha256"]);
}

TEST_F(CheckpointTools, AnyNumberOfFilesAndBackHoldsTheSame) {
  const auto first =
      must({"import", (kModels / "mixtral-tiny").string(), "--output", path("a"), "--files", "3"});
  std::string from = path("a");
  for (const char* count : {"1", "8", "5", "3"}) {
    const std::string to = path(std::string("to") + count);
    const auto result =
        must({"reshard", from, "--output", to, "--files", count, "--placement", "round-robin"});
    EXPECT_EQ(result.value("content_sha256", ""), first.value("content_sha256", "none"));
    EXPECT_EQ(must({"verify", to}).value("good", false), true);
    from = to;
  }
  EXPECT_TRUE(must({"diff", path("a"), from}).value("equal", false));
}

TEST_F(CheckpointTools, FilesOfTheSamePlacementAreTheSameBytesWhicheverWayTheyCame) {
  must({"import", (kModels / "olmoe-tiny").string(), "--output", path("a"), "--files", "2"});
  must({"reshard", path("a"), "--output", path("b"), "--files", "7"});
  must({"reshard", path("b"), "--output", path("c"), "--files", "2"});
  for (const char* name : {"shard-00000-of-00002.sy", "shard-00001-of-00002.sy"}) {
    const std::string file = std::string("/step-000000000000/") + name;
    // Behind the header, which says which start wrote it, and before trailer's.
    const std::string a = read_file(path("a") + file);
    const std::string c = read_file(path("c") + file);
    EXPECT_EQ(a.size(), c.size());
    EXPECT_TRUE(a.substr(4096, a.size() - 4160) == c.substr(4096, c.size() - 4160)) << name;
  }
}

TEST_F(CheckpointTools, DiffNamesTheTensorAndTheElement) {
  must({"import", (kModels / "mixtral-tiny").string(), "--output", path("a")});
  fs::copy(kModels / "mixtral-tiny", path("changed"));
  const std::string file = path("changed") + "/model-00001-of-00002.safetensors";
  std::string bytes = read_file(file);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file(file, bytes);
  must({"import", path("changed"), "--output", path("b")});
  const auto result = must({"diff", path("a"), path("b")}, 1);
  ASSERT_EQ(result["differences"].size(), 1U) << result;
  EXPECT_THAT(result["differences"][0].value("what", ""), HasSubstr("1 of "));
}

TEST_F(CheckpointTools, VerifySaysWhatOfADamagedStepIsGood) {
  must({"import", (kModels / "mixtral-tiny").string(), "--output", path("a"), "--files", "2"});
  const std::string file = path("a") + "/step-000000000000/shard-00001-of-00002.sy";
  std::string bytes = read_file(file);
  bytes[5000] = static_cast<char>(bytes[5000] ^ 4);
  write_file(file, bytes);
  const auto result = must({"verify", path("a")}, 1);
  const auto& step = result["steps"][0];
  EXPECT_EQ(step["good_tensors"], step["tensors"].get<int>() - 1);
  ASSERT_EQ(step["findings"].size(), 1U);
  EXPECT_EQ(step["findings"][0]["file"], "shard-00001-of-00002.sy");
  EXPECT_EQ(step["findings"][0]["part"], "data");
  const Outcome refused =
      run({.words = switchyard({"checkpoint", "reshard", path("a"), "--output", path("b")})});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("shard-00001-of-00002.sy"));
  EXPECT_FALSE(fs::exists(path("b") + "/step-000000000000"));
}

TEST_F(CheckpointTools, LittleMemoryIsRefusedWithWhatIsNeeded) {
  must({"import", (kModels / "mixtral-tiny").string(), "--output", path("a")});
  const Outcome refused = run({.words = switchyard({"checkpoint", "reshard", path("a"), "--output",
                                                    path("b"), "--max-memory", "16M"})});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err, HasSubstr("--max-memory: got 16M, want at least"));
}
}  // namespace
