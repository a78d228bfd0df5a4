// SPDX-License-Identifier: Apache-2.0
// Routing traces from outside: recorded alike at every rank count, replayed to the same digest.
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
using Words = std::vector<std::string>;

const std::string kTable = std::string(SWITCHYARD_TEST_DATA) + "/golden/trace/expert-load.csv";

Words small_model(const std::string& command, const Words& more = {}) {
  Words words{command};
  if (command == "trace record") words = {"trace", "record"};
  const std::string fields[] = {"hidden_size=96",    "moe_intermediate_size=80",
                                "routed_experts=40", "shared_intermediate_size=40",
                                "n_group=4",         "topk_group=2"};
  words.insert(words.end(), {"--model", "deepseek-v3"});
  for (const std::string& field : fields) words.insert(words.end(), {"--set", field});
  words.insert(words.end(), more.begin(), more.end());
  return switchyard(words);
}

Words small_run(const Words& more = {}, const std::string& steps = "2") {
  Words words = small_model("run", {"--layers", "2", "--steps", steps, "--json", "-"});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class RoutingTraces : public testing::Test {
 protected:
  RoutingTraces()
      : folder_(testing::TempDir() + "launch_routing_trace_" + std::to_string(::getpid())) {
    std::filesystem::create_directory(folder_);
  }
  ~RoutingTraces() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name) const { return folder_ + "/" + name; }

  static nlohmann::json good(int ranks, const Words& words) {
    const Outcome outcome = run({.words = ranks > 0 ? mpirun(ranks, words) : words});
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, false);
  }
  static std::string digest(int ranks, const Words& more) {
    return good(ranks, small_run(more)).value("output_digest", "none");
  }
  static std::string complaint(const Words& words) {
    const Outcome outcome = run({.words = words});
    EXPECT_EQ(outcome.status, 2) << outcome.out << outcome.err;
    return outcome.err;
  }

  std::string folder_;
};

TEST_F(RoutingTraces, OfARunHaveTheSameBytesAtEveryRankCountAndReplayToItsDigest) {
  const std::string want = digest(1, {"--tokens", "67", "--record-trace", file("1")});
  for (const int ranks : {2, 3, 5}) {
    const std::string name = file(std::to_string(ranks));
    EXPECT_EQ(digest(ranks, {"--tokens", "67", "--record-trace", name, "--chunk-tokens", "9",
                             "--warmup", std::to_string(ranks % 3)}),
              want);
    EXPECT_EQ(bytes_of(name), bytes_of(file("1"))) << ranks << " ranks";
  }
  for (const int ranks : {1, 3}) {
    EXPECT_EQ(digest(ranks, {"--routing", "trace:" + file("1")}), want);
    EXPECT_EQ(digest(ranks, {"--routing", "trace:" + file("1"), "--tokens", "67", "--placement",
                             "round-robin", "--transport", "p2p"}),
              want);
  }
  const auto shown = good(0, switchyard({"trace", "info", file("5"), "--json", "-"}));
  EXPECT_EQ(shown["steps"], 2);
  EXPECT_EQ(shown["tokens"], 134);
  EXPECT_EQ(shown["detail"], "weights");
  EXPECT_EQ(shown["per_layer"][1]["slots"], 134 * 8);
}

TEST_F(RoutingTraces, ThatARunDrewAreThoseThatAreSynthesised) {
  (void)digest(2, {"--tokens", "30", "--routing", "zipf:1", "--record-trace", file("run"),
                   "--record-detail", "experts"});
  (void)good(0, switchyard({"trace", "synth", "--workload", "zipf:1", "--experts", "40", "--top-k",
                            "8", "--layers", "2", "--tokens", "30", "--steps", "2", "--output",
                            file("made"), "--json", "-"}));
  const auto shown = [&](const std::string& name) {
    auto json = good(0, switchyard({"trace", "info", file(name), "--json", "-"}));
    return std::pair(json["per_layer"][0]["load"], json["pairs"][0]["tokens"]);
  };
  EXPECT_EQ(shown("run"), shown("made"));
}

TEST_F(RoutingTraces, OfCountsAndOfExpertsReplayAtAnyRankCount) {
  for (const char* detail : {"counts", "experts"}) {
    const std::string name = file(detail);
    (void)digest(2, {"--tokens", "30", "--record-trace", name, "--record-detail", detail});
    const std::string one = digest(1, {"--routing", "trace:" + name});
    EXPECT_EQ(digest(3, {"--routing", "trace:" + name}), one);
    // What a replay sends is the trace: recorded again, it has the same loads.
    (void)digest(2, {"--routing", "trace:" + name, "--record-trace", file("again"),
                     "--record-detail", "counts"});
    const auto loads = [](const std::string& of) {
      return good(0, switchyard({"trace", "info", of, "--json", "-"}))["per_layer"][1]["load"];
    };
    EXPECT_EQ(loads(file("again")), loads(name));
  }
}

TEST_F(RoutingTraces, OfGeneratingHaveTheSameBytesHoweverItIsDone) {
  const auto generate = [&](int ranks, const std::string& name, const std::string& at_once) {
    return good(ranks, small_model("generate",
                                   {"--set", "vocab_size=64", "--set", "q_lora_rank=24", "--set",
                                    "kv_lora_rank=16", "--layers", "5", "--prompt-tokens", "9,4,17",
                                    "--max-new-tokens", "4", "--prefill-tokens", at_once,
                                    "--record-trace", file(name), "--json", "-"}));
  };
  const auto want = generate(1, "1", "2048");
  for (const int ranks : {2, 3, 5}) {
    const std::string name = std::to_string(ranks);
    EXPECT_EQ(generate(ranks, name, "6").at("ids"), want.at("ids"));
    EXPECT_EQ(bytes_of(file(name)), bytes_of(file("1"))) << ranks << " ranks";
  }
  const auto shown = good(0, switchyard({"trace", "info", file("1"), "--json", "-"}));
  EXPECT_EQ(shown["steps"], 4);
  EXPECT_EQ(shown["tokens"], 9 + 4 + 17 + 3 * 3);
  EXPECT_THAT(shown["layer_numbers"], testing::ElementsAre(3, 4)) << "the first three are dense";
}

TEST_F(RoutingTraces, WithStepsOfUnequalTokensReplay) {
  (void)good(0, switchyard({"trace", "synth", "--workload", "ragged:0.1", "--experts", "40",
                            "--top-k", "8", "--layers", "2", "--tokens", "50", "--steps", "3",
                            "--output", file("ragged"), "--json", "-"}));
  const auto one = good(1, small_run({"--routing", "trace:" + file("ragged")}, "5"));
  EXPECT_EQ(good(3, small_run({"--routing", "trace:" + file("ragged")}, "5"))
                .value("output_digest", "none"),
            one.value("output_digest", ""));
  EXPECT_THAT(complaint(small_run({"--routing", "trace:" + file("ragged"), "--tokens", "51"})),
              HasSubstr("--tokens: got 51, want "));
}

TEST_F(RoutingTraces, AreMadeImportedAndShownWithoutMpi) {
  const auto made = good(
      0, switchyard({"trace", "synth", "--workload", "load:" + kTable, "--tokens", "500", "--steps",
                     "2", "--domain", "math", "--output", file("made"), "--json", "-"}));
  EXPECT_EQ(made["experts"], 32);
  EXPECT_EQ(made["layers"], 3);
  const auto imported = good(0, switchyard({"trace", "import", "--from", "load", kTable, "--output",
                                            file("imported"), "--json", "-"}));
  EXPECT_EQ(imported["detail"], "counts");
  std::ofstream(file("dump.json")) << R"({"logical_count": [[[3, 2, 1], [2, 2, 2]]]})";
  const auto dump =
      good(0, switchyard({"trace", "import", "--from", "sglang", "--top-k", "2", file("dump.json"),
                          "--output", file("sglang"), "--json", "-"}));
  EXPECT_EQ(dump["experts"], 3);
  std::ofstream(file("rank0.jsonl"))
      << R"({"step": 1, "layer": 0, "rank": 0, "num_tokens": 1, "topk": 2, "top_indices": [[4, 1]]})"
      << '\n';
  const auto lines = good(0, switchyard({"trace", "import", file("rank0.jsonl"), "--output",
                                         file("megatron"), "--json", "-"}));
  EXPECT_EQ(lines["experts"], 5);
  const Outcome shown = run({.words = switchyard({"trace", "info", file("made")})});
  EXPECT_EQ(shown.status, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("2 steps, 3 layers, top-4 of 32 experts, experts"));
  EXPECT_THAT(shown.out, HasSubstr("layer  experts 0 to 31"));
  EXPECT_THAT(shown.out, HasSubstr("experts that tokens choose together"));
}

TEST_F(RoutingTraces, ThatDoNotFitAreRefusedInTheseWords) {
  (void)good(
      0, switchyard({"trace", "synth", "--workload", "uniform", "--experts", "39", "--top-k", "8",
                     "--steps", "1", "--tokens", "4", "--output", file("39"), "--json", "-"}));
  EXPECT_THAT(complaint(small_run({"--routing", "trace:" + file("39")})),
              HasSubstr(file("39") + ": trace of 39 experts and 8 slots a token, want 40 and 8 as "
                                     "the model has"));
  (void)good(
      0, switchyard({"trace", "synth", "--workload", "uniform", "--experts", "40", "--top-k", "8",
                     "--steps", "1", "--tokens", "4", "--output", file("40"), "--json", "-"}));
  EXPECT_THAT(complaint(small_run({"--routing", "trace:" + file("40")})),
              HasSubstr("trace of 1 layers, want at least the 2 that are run"));
  const std::string whole = bytes_of(file("40"));
  std::ofstream(file("cut"), std::ios::binary) << whole.substr(0, whole.size() - 5);
  EXPECT_THAT(complaint(switchyard({"trace", "info", file("cut")})), HasSubstr("it has been cut"));
  EXPECT_THAT(complaint(small_run({"--routing", "trace:" + file("cut")})),
              HasSubstr("it has been cut"));
  EXPECT_THAT(complaint(switchyard({"trace", "info", kTable})),
              HasSubstr(": byte 0: got a file that does not begin with SYTRAC01, want a routing "
                        "trace"));
  EXPECT_THAT(complaint(small_run({"--record-detail", "counts"})),
              HasSubstr("--record-detail: got it without --record-trace, want both"));
  EXPECT_THAT(complaint(small_model("trace record")),
              HasSubstr("--record-trace: got none, want the file to write"));
  EXPECT_THAT(complaint(small_run({"--serve", "--record-trace", file("x")})),
              HasSubstr("--serve: got it with --record-trace, want one of them"));
  EXPECT_THAT(
      complaint(switchyard({"trace", "synth", "--workload", "uniform", "--output", file("x")})),
      HasSubstr("trace synth: got no shape, want --model, or --experts and --top-k"));
  EXPECT_THAT(complaint(switchyard({"trace", "synth", "--experts", "4", "--output", file("x")})),
              HasSubstr("--workload: got none, want one of balanced, uniform, zipf:S, "));
  EXPECT_EQ(run({.words = switchyard({"trace", "info", file("nowhere")})}).status, 74);
}
}  // namespace
