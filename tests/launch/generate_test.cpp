// SPDX-License-Identifier: Apache-2.0
// `generate` and `eval` from outside: the official code's greedy tokens and losses at any rank
// count, and what a user can get wrong.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "runtime/model/safetensors.hpp"
#include "tests/launch/program.hpp"

namespace {
using nlohmann::json;
using switchyard::runtime::SafetensorsFile;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;
using testing::Not;
using Ids = std::vector<std::int64_t>;

std::string model(const std::string& name) {
  return std::string(SWITCHYARD_TEST_DATA) + "/golden/models/" + name;
}

template <class T>
std::vector<std::vector<T>> rows_of(const std::string& name, const std::string& tensor) {
  const SafetensorsFile file(model(name) + "/golden.safetensors");
  const auto& found = file.tensors().at(tensor);
  const auto width = static_cast<std::size_t>(found.shape.back());
  std::vector<std::vector<T>> rows(static_cast<std::size_t>(found.elements()) / width);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    rows[r].resize(width);
    std::memcpy(rows[r].data(), found.data.data() + r * width * sizeof(T), width * sizeof(T));
  }
  return rows;
}

std::string joined(const Ids& ids) {
  std::string text;
  for (const std::int64_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

/// The folder of this process, for files of one test.
std::filesystem::path scratch(const std::string& name) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("generate_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return folder / name;
}
std::string file_with(const std::string& name, const std::string& bytes) {
  std::ofstream(scratch(name), std::ios::binary) << bytes;
  return scratch(name).string();
}
/// A copy of mixtral-tiny with one file more.
std::string model_with(const std::string& folder, const std::string& name,
                       const std::string& bytes) {
  std::filesystem::copy(
      model("mixtral-tiny"), scratch(folder),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  std::ofstream(scratch(folder) / name, std::ios::binary) << bytes;
  return scratch(folder).string();
}

json result_of(int ranks, std::vector<std::string> args) {
  args.insert(args.end(), {"--json", "-"});
  const Outcome outcome = run({.words = mpirun(ranks, switchyard(args))});
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  return outcome.status == 0 ? json::parse(outcome.out) : json();
}

class Golden : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(Golden, PromptsGoOnAsTheOfficialCodeGoesOn) {
  const auto [name, ranks] = GetParam();
  const auto prompts = rows_of<std::int64_t>(name, "golden.input_ids");
  const auto want = rows_of<std::int64_t>(name, "golden.greedy_ids");
  std::string given;
  for (const Ids& ids : prompts) given += (given.empty() ? "" : ";") + joined(ids);
  const json got = result_of(ranks, {"generate", "--checkpoint", model(name), "--prompt-ids", given,
                                     "--max-new-tokens", std::to_string(want[0].size())});
  EXPECT_EQ(got.at("ids").get<std::vector<Ids>>(), want);
  EXPECT_GT(got.at("prefill_tokens_per_s"), 0);
  EXPECT_GT(got.at("decode_tokens_per_s"), 0);
}
INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::Values("mixtral-tiny", "qwen2-moe-tiny",
                                                          "qwen3-moe-tiny-bf16", "olmoe-tiny",
                                                          "deepseek-v3-tiny", "gpt-oss-tiny",
                                                          "arctic-tiny"),
                                          testing::Values(1, 2, 3, 5)),
                         [](const auto& param) {
                           std::string name = std::get<0>(param.param);
                           std::erase(name, '-');
                           return name + "np" + std::to_string(std::get<1>(param.param));
                         });

/// Mean of -ln p(next token) over the golden logits of the first prompt.
double golden_loss(const std::string& name) {
  const auto ids = rows_of<std::int64_t>(name, "golden.input_ids")[0];
  const auto logits = rows_of<float>(name, "golden.logits");
  double sum = 0;
  for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
    double all = 0;
    for (const float logit : logits[t]) all += std::exp(double{logit});
    sum += std::log(all) - double{logits[t][static_cast<std::size_t>(ids[t + 1])]};
  }
  return sum / static_cast<double>(ids.size() - 1);
}

TEST(Eval, HasTheLossOfTheOfficialLogitsAndTheSameBitsAtAnyRankCount) {
  const auto ids = rows_of<std::int64_t>("olmoe-tiny", "golden.input_ids")[0];
  const std::string file = file_with("golden_ids", joined(ids) + "\n");
  const json one = result_of(1, {"eval", "--checkpoint", model("olmoe-tiny"), "--ids", file});
  EXPECT_NEAR(one.at("loss"), golden_loss("olmoe-tiny"), 1e-5);
  EXPECT_NEAR(one.at("perplexity"), std::exp(one.at("loss").get<double>()), 1e-9);
  EXPECT_EQ(one.at("tokens"), ids.size() - 1);

  std::string longer;
  for (int i = 0; i < 200; ++i) longer += std::to_string(i * i % 96) + " ";
  const std::string text = file_with("longer_ids", longer);
  const auto loss = [&](int ranks, const std::string& more) {
    return result_of(ranks, {"eval", "--checkpoint", model("olmoe-tiny"), "--ids", text,
                             "--context", "32", "--stride", "24", "--threads-per-rank", more})
        .at("loss")
        .dump();
  };
  const std::string want = loss(1, "1");
  for (const int ranks : {2, 3, 5}) EXPECT_EQ(loss(ranks, "1"), want) << ranks << " ranks";
  EXPECT_EQ(loss(2, "2"), want);
}

TEST(Generate, SampledTokensDependOnTheSeedAndNotOnRanksTransportOrPlacement) {
  const auto sampled = [](int ranks, const std::string& seed, std::vector<std::string> more) {
    std::vector<std::string> args{"generate",
                                  "--checkpoint",
                                  model("mixtral-tiny"),
                                  "--prompt-ids",
                                  "1,2,3;4;5,6,7,8;9,10",
                                  "--max-new-tokens",
                                  "12",
                                  "--temperature",
                                  "1.3",
                                  "--top-k",
                                  "40",
                                  "--top-p",
                                  "0.95",
                                  "--seed",
                                  seed};
    args.insert(args.end(), more.begin(), more.end());
    return result_of(ranks, args).at("ids");
  };
  const json want = sampled(1, "7", {});
  EXPECT_EQ(sampled(2, "7", {"--transport", "p2p"}), want);
  EXPECT_EQ(sampled(3, "7", {"--placement", "round-robin", "--threads-per-rank", "2"}), want);
  EXPECT_EQ(sampled(5, "7", {"--chunk-tokens", "2"}), want);
  EXPECT_NE(sampled(1, "8", {}), want);
}

TEST(Generate, APromptAloneOrAmongOthersGoesOnAlike) {
  const auto ids = [](const std::string& prompts) {
    return result_of(2, {"generate", "--checkpoint", model("qwen2-moe-tiny"), "--prompt-ids",
                         prompts, "--max-new-tokens", "6"})
        .at("ids");
  };
  const json together = ids("3,1,4;1,5,9,2,6;5");
  EXPECT_EQ(ids("3,1,4"), together[0]);
  EXPECT_EQ(ids("5"), together[2]);
}

TEST(Generate, TextGoesInAndComesOut) {
  const std::string file = file_with("prompts", "HELLO 42\nWORLD\n");
  const Outcome outcome =
      run({.words = mpirun(
               2, switchyard({"generate", "--checkpoint", model("mixtral-tiny"), "--tokenizer",
                              "bytes", "--prompt-file", file, "--max-new-tokens", "5", "--json",
                              scratch("text.json").string()}))});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  std::ifstream in(scratch("text.json"));
  const json got = json::parse(in);
  for (std::size_t i = 0; i < 2; ++i) {
    const json& sequence = got.at("sequences").at(i);
    std::string bytes;
    for (const std::int64_t id : sequence.at("ids")) bytes += static_cast<char>(id);
    EXPECT_EQ(sequence.at("text"), bytes);
    EXPECT_THAT(outcome.out, HasSubstr("[" + std::to_string(i) + "] " + bytes + "\n"));
  }
  EXPECT_EQ(got.at("sequences")[1].at("prompt_ids"), json({'W', 'O', 'R', 'L', 'D'}));
}

TEST(Generate, StopsAtTheEndThatGenerationConfigNames) {
  const auto prompt = joined(rows_of<std::int64_t>("mixtral-tiny", "golden.input_ids")[0]);
  const auto greedy = rows_of<std::int64_t>("mixtral-tiny", "golden.greedy_ids")[0];
  for (const std::string& eos :
       {std::to_string(greedy[2]), "[95, " + std::to_string(greedy[2]) + "]"}) {
    const std::string folder =
        model_with("ends", "generation_config.json", R"({"eos_token_id": )" + eos + "}");
    const json got = result_of(
        2, {"generate", "--checkpoint", folder, "--prompt-ids", prompt, "--max-new-tokens", "8"});
    EXPECT_EQ(got.at("ids").get<Ids>(), Ids(greedy.begin(), greedy.begin() + 3));
    EXPECT_EQ(got.at("sequences")[0].at("stopped_by"), "eos");
  }
}

TEST(Generate, RoutingStatsCountEverySlotOfEveryLayer) {
  const json got = result_of(3, {"generate", "--checkpoint", model("mixtral-tiny"), "--prompt-ids",
                                 "1,2,3;4,5", "--max-new-tokens", "4", "--routing-stats"});
  ASSERT_EQ(got.at("routing").size(), 2U);
  for (const json& layer : got.at("routing")) {
    EXPECT_EQ(layer.at("slots"), 2 * (5 + 2 * 3)) << "top 2 of 5 prompt and 6 new tokens";
    std::int64_t sum = 0;
    for (const std::int64_t load : layer.at("load")) sum += load;
    EXPECT_EQ(sum, layer.at("slots"));
  }
}

struct BadInput {
  std::string name;
  std::vector<std::string> args;
  int status;
  std::string message;
};
std::vector<BadInput> bad_inputs() {
  const std::string tiny = model("mixtral-tiny");
  const auto generate = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"generate", "--checkpoint", tiny});
    return more;
  };
  const auto eval = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", "--checkpoint", tiny});
    return more;
  };
  const std::string ids = file_with("few_ids", "1 2 3 4 5 6 7 8");
  return {
      {"NoPrompt", generate({}), 2,
       "got no prompt, want --prompt, --prompt-ids, --prompt-file or --prompt-tokens"},
      {"TwoPrompts", generate({"--prompt", "a", "--prompt-ids", "1"}), 2,
       "got --prompt and --prompt-ids, want one"},
      {"NoCheckpoint", {"generate", "--prompt-ids", "1"}, 2, "--checkpoint: got none, want"},
      {"MissingCheckpoint",
       {"generate", "--checkpoint", "/nowhere", "--prompt-ids", "1"},
       74,
       "/nowhere"},
      {"NoTokenizer", generate({"--prompt", "hello"}), 2,
       "got neither tokenizer.json nor tokenizer.model in " + tiny},
      {"NoTokenizerSaysWhatElse", generate({"--prompt", "hello"}), 2, "--prompt-ids"},
      {"MissingTokenizer", generate({"--prompt", "a", "--tokenizer", "/nowhere/t.json"}), 74,
       "/nowhere/t.json"},
      {"OddTokenizer", generate({"--prompt", "a", "--tokenizer", "words"}), 2,
       "--tokenizer: got 'words', want auto"},
      {"BrokenTokenizer",
       {"generate", "--checkpoint", model_with("broken", "tokenizer.json", R"({"model": {}})"),
        "--prompt", "a"},
       2,
       "tokenizer.json: model.vocab: got nothing, want an object"},
      {"EmptyPrompt", generate({"--prompt", "", "--tokenizer", "bytes"}), 2,
       "--prompt: got '' and a tokenizer that begins a text with nothing, want a text"},
      {"EmptyPromptIds", generate({"--prompt-ids", ","}), 2,
       "prompt 0: got no token, want at least one"},
      {"EmptyLineOfFile",
       generate({"--prompt-file", file_with("gap", "AB\n\nCD\n"), "--tokenizer", "bytes"}), 2,
       "prompt 1: got no token"},
      {"MissingPromptFile", generate({"--prompt-file", "/nowhere/p", "--tokenizer", "bytes"}), 74,
       "/nowhere/p"},
      {"IdOutsideTheVocabulary", generate({"--prompt-ids", "1,96"}), 2,
       "prompt 0: id, got 96, want 0 to 95"},
      {"ByteOutsideTheVocabulary", generate({"--prompt", "a", "--tokenizer", "bytes"}), 2,
       "id, got 97, want 0 to 95"},
      {"NegativeId", generate({"--prompt-ids", "-1"}), 2, "--prompt-ids: got '-1' for id 0"},
      {"IdWithLetters", generate({"--prompt-ids", "1,x"}), 2, "--prompt-ids: got 'x' for id 1"},
      {"NegativeTemperature", generate({"--prompt-ids", "1", "--temperature", "-1"}), 2,
       "--temperature: got '-1', want a number from 0"},
      {"TopPZero", generate({"--prompt-ids", "1", "--top-p", "0"}), 2,
       "--top-p: got '0', want a number above 0 to 1"},
      {"TopPAboveOne", generate({"--prompt-ids", "1", "--top-p", "1.5"}), 2, "--top-p: got '1.5'"},
      {"NegativeTopK", generate({"--prompt-ids", "1", "--top-k", "-1"}), 2, "--top-k: got '-1'"},
      {"NoNewTokens", generate({"--prompt-ids", "1", "--max-new-tokens", "0"}), 2,
       "--max-new-tokens: got '0'"},
      {"LongerThanTheContext", generate({"--prompt-ids", "1,2", "--max-new-tokens", "255"}), 2,
       "prompt 0: got 2 tokens and --max-new-tokens 255, want at most 256 together, the model's "
       "context"},
      {"EvalOfNothing", eval({}), 2, "eval: got neither --text nor --ids"},
      {"EvalOfTwo", eval({"--ids", ids, "--text", ids}), 2, "eval: got --text and --ids"},
      {"EvalWithoutTokenizer", eval({"--text", ids}), 2, "--ids need none"},
      {"EvalContextBeyondTheModel", eval({"--ids", ids, "--context", "257"}), 2,
       "--context: got 257, want at most 256"},
      {"EvalStrideBeyondTheContext", eval({"--ids", ids, "--context", "4", "--stride", "5"}), 2,
       "--stride: got 5, want 1 to 4"},
      {"EvalOfOneToken", eval({"--ids", file_with("one_id", "1")}), 2, "got 1, want at least 2"},
      {"EvalMissingFile", eval({"--ids", "/nowhere/ids"}), 74, "/nowhere/ids"},
  };
}

TEST(Generate, AnEmptyPromptIsTheIdThatBeginsATextWhereThereIsOne) {
  const std::string folder = model_with(
      "begins", "tokenizer.json",
      R"({"added_tokens": [{"id": 7, "content": "<s>", "special": true, "single_word": false,
          "lstrip": false, "rstrip": false, "normalized": false}], "normalizer": null,
          "pre_tokenizer": null, "post_processor": null, "decoder": null,
          "model": {"type": "BPE", "vocab": {"a": 1, "<s>": 7}, "merges": []}})");
  std::ofstream(folder + "/tokenizer_config.json")
      << R"({"add_bos_token": true, "bos_token": "<s>"})";
  const json result =
      result_of(2, {"generate", "--checkpoint", folder, "--prompt", "", "--max-new-tokens", "2"});
  EXPECT_EQ(result.at("sequences")[0].at("prompt_ids"), json({7}));
}

TEST(BadInputs, EndOnTwoRanksWithOneMessageAndTheirStatus) {
  for (const BadInput& input : bad_inputs()) {
    SCOPED_TRACE(input.name);
    const Outcome outcome = run({.words = mpirun(2, switchyard(input.args))});
    EXPECT_FALSE(outcome.timed_out);
    EXPECT_EQ(outcome.status, input.status) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(input.message));
    EXPECT_EQ(outcome.err_lines("switchyard: error: "), 1) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr("terminate called")));
    EXPECT_EQ(outcome.out, "");
  }
}
}  // namespace
