// SPDX-License-Identifier: Apache-2.0
// Routing of other programs, and what a trace is said to look like.
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "runtime/trace/import.hpp"
#include "runtime/trace/summary.hpp"
#include "runtime/trace/writer.hpp"

namespace switchyard::runtime {
namespace {
using testing::ElementsAre;

class TraceImport : public testing::Test {
 protected:
  TraceImport() : folder_(testing::TempDir() + "trace_import_" + std::to_string(::getpid())) {
    std::filesystem::create_directory(folder_);
  }
  ~TraceImport() override { std::filesystem::remove_all(folder_); }

  std::string file(const std::string& name, const std::string& text = {}) {
    const std::string path = folder_ + "/" + name;
    if (!text.empty()) std::ofstream(path) << text;
    return path;
  }
  /// What is wrong with one file of these lines; its folder is left out.
  std::string refusal(const std::string& text, const ImportSettings& settings = {}) {
    return words([&] { import_megatron({file("r0", text)}, settings, file("out")); });
  }
  std::string words(const std::function<void()>& body) {
    try {
      body();
    } catch (const std::invalid_argument& error) {
      const std::string text = error.what();
      return text.starts_with(folder_ + "/") ? text.substr(folder_.size() + 1) : text;
    }
    return "accepted";
  }

  std::string folder_;
};

std::string line(int step, int layer, int rank, int tokens, const std::string& rows, int topk = 2) {
  return "{\"step\": " + std::to_string(step) + ", \"layer\": " + std::to_string(layer) +
         ", \"rank\": " + std::to_string(rank) + ", \"num_tokens\": " + std::to_string(tokens) +
         ", \"topk\": " + std::to_string(topk) + ", \"top_indices\": " + rows + "}\n";
}

TEST_F(TraceImport, OfMegatronPutsRanksBehindEachOther) {
  const auto one = file("rank1", line(10, 3, 1, 1, "[[5, 1]]") + line(10, 7, 1, 1, "[[0, 4]]"));
  const auto zero = file("rank0", line(10, 3, 0, 2, "[[0, 1], [2, -1]]") + "\n" +
                                      line(10, 7, 0, 2, "[[3, 2], [1, 0]]") +
                                      line(12, 7, 0, 0, "[]") + line(12, 3, 0, 1, "[[1, 0]]"));
  import_megatron({one, zero}, {.experts = 8, .top_k = 0, .model = "m"}, file("out"));
  const RoutingTrace trace = read_trace(file("out"));
  EXPECT_EQ(trace.info.experts, 8);
  EXPECT_EQ(trace.info.top_k, 2);
  EXPECT_EQ(trace.info.detail, TraceDetail::kExperts);
  EXPECT_THAT(trace.info.layer_numbers, ElementsAre(3, 7));
  ASSERT_EQ(trace.steps.size(), 2U);
  EXPECT_EQ(trace.steps[0].number, 10);
  EXPECT_THAT(trace.steps[0].layers[0].chosen, ElementsAre(0, 1, 2, -1, 5, 1));
  EXPECT_THAT(trace.steps[0].layers[1].chosen, ElementsAre(3, 2, 1, 0, 0, 4));
  EXPECT_EQ(trace.steps[1].number, 12);
  EXPECT_EQ(trace.steps[1].layers[1].tokens, 0);
}

TEST_F(TraceImport, OfMegatronIsRefusedInTheseWords) {
  EXPECT_EQ(refusal("{\n"), "r0:1: got no JSON, want an object");
  EXPECT_EQ(refusal("[]\n"), "r0:1: got no object, want {\"step\": ...}");
  EXPECT_EQ(refusal("\n"), "r0:1: got no line, want at least one");
  EXPECT_EQ(refusal("{\"step\": -1}\n"),
            "r0:1: step, got -1, want a whole number from 0 to 1099511627776");
  EXPECT_EQ(refusal(line(0, 0, 0, 2, "[[0, 1]]")),
            "r0:1: top_indices, got 1 rows, want num_tokens, 2");
  EXPECT_EQ(refusal(line(0, 0, 0, 1, "[[0]]")), "r0:1: top_indices, got a row of 1, want topk, 2");
  EXPECT_EQ(refusal(line(0, 0, 0, 1, "[[0, 1.5]]")),
            "r0:1: top_indices, got 1.5, want an expert from 0, or -1 for none");
  EXPECT_EQ(refusal(line(0, 0, 0, 1, "[[0, 1]]") + line(1, 0, 0, 1, "[[0]]", 1)),
            "r0:2: topk, got 1, want 2 as in the lines before");
  EXPECT_EQ(refusal(line(0, 0, 0, 1, "[[0, 9]]"), {.experts = 8, .top_k = 0, .model = ""}),
            "r0:1: top_indices, got expert 9, want below --experts 8");
  EXPECT_EQ(refusal(line(0, 0, 0, 1, "[[0, 1]]") + line(0, 1, 0, 1, "[[0, 1]]") +
                    line(1, 0, 0, 1, "[[0, 1]]")),
            "r0: step 1 has no layer 1, want all layers in every step");
  EXPECT_EQ(
      refusal(line(0, 0, 0, 1, "[[1, 1]]")),
      "trace: step 0, layer 0: expert 1 was chosen 2 times by 1 tokens, want each at most once a "
      "token");
  EXPECT_FALSE(std::filesystem::exists(file("out")));
  EXPECT_THROW(import_megatron({file("none")}, {}, file("out")), std::system_error);
}

const ImportSettings kTop2{.experts = 0, .top_k = 2, .model = ""};

TEST_F(TraceImport, OfSglangHasCountsAndAsManyTokensAsTheyNeed) {
  const auto trace = import_sglang(
      R"({"logical_count": [[[3, 2, 1], [2, 2, 2]], [[9, 0, 0], [0, 0, 0]]]})", "s", kTop2);
  EXPECT_EQ(trace.info.layers, 2);
  EXPECT_EQ(trace.info.experts, 3);
  ASSERT_EQ(trace.steps.size(), 2U);
  EXPECT_EQ(trace.steps[0].layers[0].tokens, 3);
  EXPECT_THAT(trace.steps[0].layers[0].counts, ElementsAre(3, 2, 1));
  EXPECT_EQ(trace.steps[1].layers[0].tokens, 9) << "no token has an expert twice";
  const auto one = import_sglang("[[3, 2, 1], [2, 2, 2]]", "s", kTop2);
  ASSERT_EQ(one.steps.size(), 1U);
  EXPECT_EQ(load_of(one, 0, 1), load_of(trace, 0, 1));
  write_routing_trace(file("out"), trace);
  EXPECT_EQ(load_of(read_trace(file("out")), 0, 2), load_of(trace, 0, 2));
}

TEST_F(TraceImport, OfSglangIsRefusedInTheseWords) {
  const auto refused = [&](const std::string& text, const ImportSettings& settings = kTop2) {
    return words([&] { (void)import_sglang(text, "s.json", settings); });
  };
  EXPECT_EQ(refused("[[1]]", {}),
            "--top-k: got none, want the slots of a token: s.json has counts, and does not say of "
            "how many tokens");
  EXPECT_THAT(refused("{"), testing::StartsWith("s.json: got no JSON, "));
  EXPECT_EQ(refused("{}"), "s.json: got no logical_count, want {\"logical_count\": [...]}");
  EXPECT_EQ(refused("[]"),
            "s.json: logical_count, got an empty array, want an array that is not empty");
  EXPECT_EQ(refused("[[1]]"), "s.json: 2 slots a token, want 1 to the 1 experts");
  EXPECT_EQ(refused("[[1, 2], [1]]"), "s.json: step 0, layer 1, got 1 experts, want 2");
  EXPECT_EQ(refused("[[[1, 2]], [[1, 2], [1, 2]]]"), "s.json: step 1, got 2 layers, want 1");
  EXPECT_EQ(refused("[[1, -2]]"), "s.json: step 0, layer 0, expert 1, got -2, want a count");
}

TEST_F(TraceImport, IsSummarisedByLoadDriftAndPairs) {
  RoutingTrace trace;
  trace.info = {.layers = 1,
                .experts = 4,
                .top_k = 2,
                .detail = TraceDetail::kExperts,
                .layer_numbers = {6},
                .model = "",
                .provenance = ""};
  const auto step = [](std::int64_t number, std::vector<std::int32_t> chosen) {
    TraceLayer layer;
    layer.tokens = std::ssize(chosen) / 2;
    layer.counts = counts_of(chosen, 4);
    layer.chosen = std::move(chosen);
    return TraceStep{.number = number, .layers = {layer}};
  };
  trace.steps = {step(0, {0, 1, 1, 0, 0, -1}), step(4, {3, 0, 3, 2})};
  write_routing_trace(file("out"), trace);
  TraceReader reader(file("out"));
  const RoutingSummary summary = summarise(reader, 1, 2);
  EXPECT_THAT(summary.load[0], ElementsAre(4, 2, 1, 2));
  EXPECT_EQ(summary.layers[0].slots, 9);
  EXPECT_EQ(summary.layers[0].empty, 1);
  EXPECT_EQ(summary.layers[0].busiest, 0);
  EXPECT_DOUBLE_EQ(summary.layers[0].imbalance, 4 / (9 / 4.0));
  ASSERT_EQ(summary.drifts.size(), 1U);
  EXPECT_EQ(summary.drifts[0].first_step, 4);
  // Shares 3/5, 2/5, 0, 0 and then 1/4, 0, 1/4, 2/4.
  EXPECT_DOUBLE_EQ(summary.drifts[0].mean, 0.75);
  ASSERT_EQ(summary.pairs.size(), 2U);
  EXPECT_EQ(summary.pairs[0].one, 0);
  EXPECT_EQ(summary.pairs[0].other, 1);
  EXPECT_EQ(summary.pairs[0].tokens, 2);
  EXPECT_DOUBLE_EQ(summary.pairs[0].lift, 2 / (4 * 2 / 5.0));
  EXPECT_THAT(heat_map(summary.load, {6}, 4), testing::HasSubstr("    6  +=:=|\n"));
  EXPECT_THAT(heat_map(summary.load, {6}, 2), testing::HasSubstr("    6  +-|\n"));
}
}  // namespace
}  // namespace switchyard::runtime
