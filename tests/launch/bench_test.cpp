// SPDX-License-Identifier: Apache-2.0
// `bench` from outside, on shapes that take no time: what is measured is right, is complete, and a
// wrong result is caught. No figure is held to any value.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "tests/launch/program.hpp"

namespace {
using nlohmann::json;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;

/// A shape whose rows fill no vector and no panel.
const std::vector<std::string> kTiny{"--model",       "olmoe",
                                     "--set",         "hidden_size=72",
                                     "--set",         "moe_intermediate_size=40",
                                     "--set",         "routed_experts=7",
                                     "--set",         "top_k=3",
                                     "--seconds",     "0.01",
                                     "--repetitions", "4"};

Outcome bench(int ranks, const std::string& what, const std::vector<std::string>& more) {
  std::vector<std::string> words{"bench", what};
  words.insert(words.end(), kTiny.begin(), kTiny.end());
  words.insert(words.end(), more.begin(), more.end());
  return run({.words = mpirun(ranks, switchyard(words))});
}

json results(int ranks, const std::string& what, std::vector<std::string> more) {
  more.insert(more.end(), {"--json", "-"});
  const Outcome outcome = bench(ranks, what, more);
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  const auto result = json::parse(outcome.out, nullptr, false);
  EXPECT_FALSE(result.is_discarded()) << outcome.out;
  return result;
}

/// Every start of this file says how it can be started again, and where it ran.
void expect_whole(const json& result, int ranks) {
  EXPECT_EQ(result["ranks"], ranks);
  EXPECT_THAT(result["again"].get<std::string>(),
              HasSubstr("mpirun -n " + std::to_string(ranks) + " switchyard bench "));
  for (const char* key : {"commit", "host", "processor", "version"}) {
    EXPECT_FALSE(result[key].get<std::string>().empty()) << key;
  }
  EXPECT_GT(result["machine_probe_s_median"], 0.0);
}

void expect_positive(const json& row, const std::vector<const char*>& keys) {
  for (const char* key : keys) {
    ASSERT_TRUE(row.contains(key)) << key << " in " << row;
    EXPECT_GT(row[key].get<double>(), 0.0) << key;
  }
}

void expect_ordered(const json& row, const std::string& prefix) {
  EXPECT_LE(row[prefix + "_min"], row[prefix + "_median"]);
  EXPECT_LE(row[prefix + "_median"], row[prefix + "_p99"]);
  EXPECT_LE(row[prefix + "_p99"], row[prefix + "_max"]);
}

class Bench : public testing::TestWithParam<int> {};

TEST_P(Bench, ExchangeBringsEveryResultHomeOverEveryTransport) {
  const json result = results(GetParam(), "exchange",
                              {"--tokens-per-rank", "1,5", "--transport", "auto,p2p,alltoallv"});
  expect_whole(result, GetParam());
  ASSERT_EQ(result["results"].size(), 6U);
  ASSERT_EQ(result["presum_results"].size(), 6U);
  for (const json& row : result["presum_results"]) EXPECT_EQ(row["wrong"], 0) << row;
  for (const json& row : result["results"]) {
    EXPECT_EQ(row["combine"], "exact");
    EXPECT_EQ(row["wrong"], 0) << row;
    EXPECT_EQ(row["pack_alltoallv_wrong"], 0) << row;
    EXPECT_EQ(row["rows"], GetParam() * row["tokens_per_rank"].get<int>() * 3);
    EXPECT_EQ(row["logical_bytes"], row["rows"].get<int>() * 2 * 72 * 4);
    EXPECT_EQ(row["wire_bytes"] > 0, GetParam() > 1);
    EXPECT_FALSE(row["transport"].get<std::string>().empty());
    EXPECT_EQ(row["batches"], 20);
    expect_positive(row, {"us_median", "pack_alltoallv_us_median", "ratio", "algbw_gb_per_s",
                          "copies_us_median", "limit"});
    expect_ordered(row, "us");
  }
  ASSERT_EQ(result["counts"].size(), 3U);
  for (const json& row : result["counts"]) {
    expect_positive(row, {"counts_us_median", "mpi_allgather_us_median", "ratio"});
  }
}

TEST_P(Bench, FfnIsHeldAgainstTheReferenceInEveryTypeAndBesideSgemm) {
  const json result =
      results(GetParam(), "ffn",
              {"--rows", "1,3,70", "--weights", "float32,bfloat16,float16,int8", "--backend",
               "ours,openblas", "--pages", "private,shared", "--cold", "1"});
  expect_whole(result, GetParam());
  ASSERT_EQ(result["results"].size(), 12U);
  for (const json& row : result["results"]) {
    EXPECT_EQ(row["wrong"], 0) << row;
    EXPECT_EQ(row["math"], "float32");
    EXPECT_LT(row["error_of_rms"], row["error_limit"]);
    expect_positive(
        row, {"us_median", "cpu_us_median", "gflops", "roofline_fraction", "cpu_roofline_fraction",
              "read_gb_per_s", "peak_gflops", "shared_pages_us_median"});
    expect_ordered(row, "us");
    EXPECT_EQ(row.contains("openblas_us_median"), row["weights"] == "float32");
  }
}

TEST_P(Bench, FfnHasNativeProductsWhereThereAreAny) {
  const json result = results(
      GetParam(), "ffn",
      {"--rows", "1,70", "--weights", "float32,int8", "--math", "float32,native", "--cold", "1"});
  ASSERT_EQ(result["results"].size(), 6U) << "float32 has nothing native, int8 always";
  for (const json& row : result["results"]) {
    EXPECT_EQ(row["wrong"], 0) << row;
    EXPECT_EQ(row["math_name"] == "int8", row["math"] == "native");
    expect_positive(row, {"roofline_fraction", "peak_gflops"});
  }
}

TEST_P(Bench, LayerIsHeldAgainstTheReferenceUnderEveryLoad) {
  for (const char* routing : {"model", "uniform", "zipf:0.8", "peers"}) {
    const json result =
        results(GetParam(), "layer",
                {"--tokens-per-rank", "1,6", "--routing", routing, "--weights", "bfloat16"});
    expect_whole(result, GetParam());
    ASSERT_EQ(result["results"].size(), 2U);
    for (const json& row : result["results"]) {
      EXPECT_EQ(row["wrong"], 0) << routing << row;
      EXPECT_LE(row["error_of_rms"], result["error_limit"]);
      expect_positive(row, {"layer_ms_median", "exchange_ms_median", "experts_ms_median",
                            "tokens_per_s", "compute_imbalance", "balancedness"});
      expect_ordered(row, "layer_ms");
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, Bench, testing::Values(1, 2, 3), testing::PrintToStringParamName());

TEST(BenchLayer, GivesTheSameBitsForTheSameTokensOnMoreRanks) {
  const json one = results(1, "layer", {"--tokens-per-rank", "6"});
  const json three = results(3, "layer", {"--tokens-per-rank", "2"});
  EXPECT_EQ(one["results"][0]["output_digest"], three["results"][0]["output_digest"]);
}

TEST(BenchExchange, SendsChunksAndSaysOfWhatSize) {
  const json result = results(2, "exchange", {"--tokens-per-rank", "1,5", "--chunk-tokens", "2"});
  ASSERT_EQ(result["results"].size(), 2U);
  EXPECT_EQ(result["results"][0]["chunk_tokens"], 1);
  EXPECT_EQ(result["results"][1]["chunk_tokens"], 2);
  for (const char* const list : {"results", "presum_results"}) {
    for (const json& row : result[list]) EXPECT_EQ(row["wrong"], 0) << row;
  }
}

TEST(BenchExchange, SendsFewTokensAsSeveralBatchesAndCountsOne) {
  const json result = results(2, "exchange", {"--tokens-per-rank", "50,200"});
  ASSERT_EQ(result["results"].size(), 2U);
  const int batches[] = {2, 1};
  for (std::size_t i = 0; i < 2; ++i) {
    const json& row = result["results"][i];
    EXPECT_EQ(row["batches"], batches[i]);
    EXPECT_EQ(row["rows"], 2 * 3 * row["tokens_per_rank"].get<int>());
    EXPECT_EQ(row["wrong"], 0) << row;
    EXPECT_EQ(row["pack_alltoallv_wrong"], 0) << row;
  }
}

TEST(BenchExchange, CatchesASpoiledResultOfAnyChunk) {
  const Outcome outcome =
      bench(2, "exchange", {"--tokens-per-rank", "4", "--chunk-tokens", "1", "--inject", "result"});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
}

TEST(BenchExchange, CatchesASpoiledResult) {
  const Outcome outcome = bench(2, "exchange", {"--tokens-per-rank", "4", "--inject", "result"});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
}

TEST(BenchFfn, CatchesASpoiledResult) {
  const Outcome outcome = bench(1, "ffn", {"--rows", "2", "--cold", "1", "--inject", "result"});
  EXPECT_EQ(outcome.status, 1) << outcome.out << outcome.err;
}

TEST(BenchLayer, CatchesASpoiledResult) {
  for (const char* stage : {"kernel", "plan", "combine"}) {
    const Outcome outcome = bench(2, "layer", {"--tokens-per-rank", "4", "--inject", stage});
    EXPECT_EQ(outcome.status, 1) << stage << outcome.out << outcome.err;
  }
}

TEST(Bench, RefusesListsThatAreNone) {
  for (const char* rows : {"1,", "0", "1,x"}) {
    const Outcome outcome = bench(1, "ffn", {"--rows=" + std::string(rows)});
    EXPECT_EQ(outcome.status, 2) << rows << outcome.out;
    EXPECT_THAT(outcome.err, HasSubstr("--rows: got '" + std::string(rows) + "', want"));
  }
}

TEST(Bench, RefusesTypesAndBackendsThatAreNot) {
  EXPECT_THAT(bench(1, "ffn", {"--weights", "float31"}).err, HasSubstr("--weights: got 'float31'"));
  EXPECT_THAT(bench(1, "ffn", {"--backend", "mkl"}).err, HasSubstr("--backend: got 'mkl'"));
  EXPECT_THAT(bench(2, "exchange", {"--routing", "model"}).err,
              HasSubstr("--routing: got 'model'"));
}
}  // namespace
