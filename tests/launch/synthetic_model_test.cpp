// SPDX-License-Identifier: Apache-2.0
// Whole models with synthetic weights from outside: every preset runs without a checkpoint, with
// the same bits at any number of ranks.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/launch/bad_input.hpp"

namespace {
using switchyard::tests::BadInput;
using switchyard::tests::data;
using switchyard::tests::expect_one_message;
using switchyard::tests::file_with;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;

/// A preset with so many layers, small where that changes no kind of layer.
std::vector<std::string> small(const std::string& command, const std::string& preset,
                               const std::string& layers, std::vector<std::string> more) {
  std::vector<std::string> words{command, "--model", preset, "--layers", layers, "--json", "-"};
  for (const char* field : {"hidden_size=64", "vocab_size=64", "moe_intermediate_size=24"}) {
    words.insert(words.end(), {"--set", field});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

nlohmann::json result_of(int ranks, const std::vector<std::string>& words) {
  const Outcome outcome =
      run({.words = mpirun(ranks, switchyard(words)), .limit = std::chrono::seconds(120)});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return nlohmann::json::parse(outcome.out);
}

struct Preset {
  const char* name;
  const char* layers = "2";
  std::vector<std::string> more = {};
};
void PrintTo(const Preset& preset, std::ostream* out) {
  *out << preset.name;
}

/// Compressed queries and keys without which their matrices do not get small.
const std::vector<std::string> kLatent{"--set", "q_lora_rank=24", "--set", "kv_lora_rank=16"};
const std::vector<std::string> kEps{"--set", "rms_norm_eps=1e-6"};

class EveryPreset : public testing::TestWithParam<Preset> {};

TEST_P(EveryPreset, HasTheSameLossOnAnyNumberOfRanks) {
  std::vector<std::string> more{"--context", "7", "--ids",
                                file_with("ids", "1 5 9 2 6 60 3 3 8 12 63 0 31 7 7 2 50 22 41 9")};
  more.insert(more.end(), GetParam().more.begin(), GetParam().more.end());
  const auto words = small("eval", GetParam().name, GetParam().layers, more);
  const double alone = result_of(1, words).at("loss").get<double>();
  EXPECT_GT(alone, 3.0);  // drawn weights foretell nothing: about ln 64
  EXPECT_LT(alone, 12.0);
  EXPECT_EQ(result_of(3, words).at("loss").get<double>(), alone);
}
INSTANTIATE_TEST_SUITE_P(
    All, EveryPreset,
    testing::Values(Preset{"arctic"}, Preset{"dbrx"}, Preset{"deepseek-v2", "2", kLatent},
                    Preset{"deepseek-v3", "4", kLatent}, Preset{"deepseekmoe-16b"},
                    Preset{"glm-4.5", "4"}, Preset{"glm-4.5-air"}, Preset{"glm-5", "4", kLatent},
                    Preset{"gpt-oss-120b"}, Preset{"gpt-oss-20b"}, Preset{"grin-moe"},
                    Preset{"grok-1"}, Preset{"hunyuan-large", "2", {"--set", "rope_theta=1e4"}},
                    Preset{"jamba-v0.1", "6", {"--set", "mamba_inner=128"}},
                    Preset{"jetmoe-8b", "2", kEps}, Preset{"llama-4-maverick-17b-128e"},
                    Preset{"llama-4-scout-17b-16e", "5"}, Preset{"llama-moe-v1-3.5b-2of8"},
                    Preset{"mixtral-8x22b"}, Preset{"mixtral-8x7b"}, Preset{"olmoe-1b-7b-0924"},
                    Preset{"openmoe-34b-32e", "4"}, Preset{"phi-3.5-moe"},
                    Preset{"qwen1.5-moe-a2.7b"}, Preset{"qwen2-57b-a14b"},
                    Preset{"qwen3-235b-a22b"}, Preset{"qwen3-30b-a3b"},
                    Preset{"skywork-moe", "2", kEps}, Preset{"yuan2.0-m32"}),
    [](const auto& preset) {
      std::string name = preset.param.name;
      std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
      return name;
    });

TEST(SyntheticModel, GeneratesTheSameIdsOnAnyNumberOfRanksAndOthersWithAnotherSeed) {
  const auto words = [](const std::string& seed) {
    return small("generate", "olmoe", "2",
                 {"--prompt-tokens", "9,1,4", "--max-new-tokens", "6", "--seed", seed});
  };
  const auto alone = result_of(1, words("1")).at("sequences");
  EXPECT_EQ(alone.size(), 3U);
  EXPECT_EQ(alone[0].at("prompt_ids").size(), 9U);
  for (const int ranks : {2, 3, 5}) {
    EXPECT_EQ(result_of(ranks, words("1")).at("sequences"), alone) << ranks;
  }
  EXPECT_NE(result_of(2, words("2")).at("sequences"), alone);
}

const std::vector<BadInput>& bad_inputs() {
  static const std::vector<BadInput> inputs{
      {"NeitherModelNorCheckpoint",
       [] {
         return std::vector<std::string>{"generate", "--prompt-ids", "1"};
       },
       2, "--checkpoint: got none, want a folder with a released model, or --model"},
      {"ModelAndCheckpoint",
       [] {
         return std::vector<std::string>{"generate",
                                         "--prompt-ids",
                                         "1",
                                         "--model",
                                         "olmoe",
                                         "--checkpoint",
                                         data("golden/models/olmoe-tiny")};
       },
       2, "--model: got it and --checkpoint, want one"},
      {"LayersOfACheckpoint",
       [] {
         return std::vector<std::string>{"generate",
                                         "--prompt-ids",
                                         "1",
                                         "--layers",
                                         "1",
                                         "--checkpoint",
                                         data("golden/models/olmoe-tiny")};
       },
       2, "--layers: got it with --checkpoint"},
      {"NoLayerWithExperts",
       [] {
         return small("generate", "deepseek-v3", "3", {"--prompt-ids", "1"});
       },
       2, "--layers: got 3, want 4 to 61: layer 3 is the first with experts"},
      {"TextWithoutTokenizer",
       [] {
         return small("generate", "olmoe", "1", {"--prompt", "a"});
       },
       2, "--tokenizer: got auto for a text without a checkpoint, want bytes or FILE"},
      {"PromptTokensNoNumber",
       [] {
         return small("generate", "olmoe", "1", {"--prompt-tokens", "x"});
       },
       2, "--prompt-tokens: got 'x'"},
      {"PromptTokensTooMany",
       [] {
         return small("generate", "olmoe", "1", {"--prompt-tokens", "9999999999"});
       },
       2, "--prompt-tokens: got more than 2^26 together"},
      {"PromptTokensBeyondMemory",
       [] {
         return small("generate", "olmoe", "1",
                      {"--prompt-tokens", "3,4000", "--memory-per-rank", "0.003"});
       },
       2, "memory: rank 0 needs"},
      {"PromptOfNoTokens",
       [] {
         return small("generate", "olmoe", "1", {"--prompt-tokens", "3,0"});
       },
       2, "prompt 1: got no token"},
  };
  return inputs;
}

class BadInputs : public testing::TestWithParam<BadInput> {};
TEST_P(BadInputs, EndsOnTwoRanksWithOneMessageAndItsStatus) {
  expect_one_message(GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, BadInputs, testing::ValuesIn(bad_inputs()),
                         [](const auto& input) { return input.param.name; });
}  // namespace
