// SPDX-License-Identifier: Apache-2.0
// Workloads: the tokens of their specification, made by another program (pinned here), and what
// each is meant to look like.
#include <algorithm>
#include <cmath>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <span>

#include "experts/synthetic.hpp"
#include "runtime/trace/replay.hpp"
#include "runtime/trace/workload.hpp"

namespace switchyard::runtime {
namespace {
using Chosen = std::vector<std::int32_t>;
const std::string kTable = std::string(SWITCHYARD_TEST_DATA) + "/golden/trace/expert-load.csv";

TraceInfo shape(std::int64_t experts, std::int64_t top_k, std::int64_t layers = 4) {
  TraceInfo info;
  info.layers = layers;
  info.experts = experts;
  info.top_k = top_k;
  info.detail = TraceDetail::kExperts;
  return info;
}

/// Step 2, layer 1 of seed 5: top-3 of 8 experts.
Chosen drawn(const std::string& name, std::int64_t tokens = 4) {
  return make_layer(workload_from(name), shape(8, 3), 5, 2, 1, tokens).chosen;
}

TEST(Workload, HasTheTokensOfItsSpecification) {
  EXPECT_EQ(drawn("uniform"), (Chosen{1, 4, 5, 7, 6, 0, 1, 5, 0, 3, 1, 0}));
  EXPECT_EQ(drawn("ragged:0.25"), drawn("uniform"));
  EXPECT_EQ(drawn("zipf:1"), (Chosen{0, 2, 4, 6, 4, 0, 0, 3, 1, 1, 0, 2}));
  EXPECT_EQ(drawn("balanced", 8),
            (Chosen{4, 5, 1, 3, 6, 7, 0, 2, 5, 1, 6, 4, 3, 7, 2, 0, 1, 6, 3, 5, 4, 7, 2, 0}));
  EXPECT_EQ(drawn("hot-expert:0.5"), (Chosen{3, 4, 5, 3, 7, 0, 3, 5, 0, 3, 1, 0}));
  EXPECT_EQ(drawn("rotating:0.5:2"), (Chosen{4, 3, 5, 4, 7, 0, 4, 5, 0, 4, 1, 0}));
  EXPECT_EQ(drawn("burst:0.5:3"), drawn("hot-expert:0.5"));
  EXPECT_EQ(drawn("burst:0.5:4"), drawn("uniform"));
  EXPECT_EQ(drawn("hot-rank:0.75:3"), (Chosen{3, 4, 5, 6, 5, 1, 2, 4, 0, 4, 3, 0}));
  EXPECT_EQ(drawn("pairs:0.5"), (Chosen{1, 5, 4, 7, 3, 0, 1, 5, 0, 3, 7, 0}));
  EXPECT_EQ(drawn("zero-token:4"), (Chosen{1, 5, 6, 6, 5, 1, 1, 5, 4, 4, 1, 5}));
  std::vector<std::int64_t> tokens;
  for (std::int64_t step = 0; step < 4; ++step) {
    tokens.push_back(workload_tokens(workload_from("ragged:0.25"), 5, step, 100));
  }
  EXPECT_THAT(tokens, testing::ElementsAre(64, 36, 64, 59));
}

TEST(Workload, OfZipfIsWhatARunMakesForItself) {
  experts::RouterSpec spec;
  spec.experts = 60;
  spec.top_k = 6;
  const auto routing = experts::synthetic_routing(spec, 1.2, 9, 3, 2, 0, 50);
  EXPECT_EQ(make_layer(workload_from("zipf:1.2"), shape(60, 6), 9, 3, 2, 50).chosen,
            routing.experts);
}

TEST(Workload, OfEveryNameIsSoundAndTheSameTwice) {
  for (const char* name :
       {"balanced", "uniform", "zipf:1.2", "hot-expert:1", "hot-rank:1:8", "rotating:0.3:1",
        "burst:0.9:2", "pairs:1", "ragged:0", "zero-token:8"}) {
    for (const std::int64_t top_k : {1, 3, 8}) {
      const TraceInfo info = shape(16, top_k, 2);
      const RoutingTrace trace = make_trace(workload_from(name), info, 7, 3, 40);
      const RoutingTrace again = make_trace(workload_from(name), info, 7, 3, 40);
      for (std::size_t s = 0; s < 3; ++s) {
        for (std::size_t l = 0; l < 2; ++l) {
          const TraceLayer& layer = trace.steps[s].layers[l];
          EXPECT_EQ(wrong_with(trace.info, layer).value_or(""), "") << name;
          EXPECT_EQ(layer.chosen, again.steps[s].layers[l].chosen) << name;
        }
      }
      const RoutingTrace other = make_trace(workload_from(name), info, 8, 3, 40);
      EXPECT_NE(trace.steps[2].layers[1].chosen, other.steps[2].layers[1].chosen) << name;
    }
  }
}

/// Counts of 4000 tokens, top-4 of 32.
std::vector<std::int64_t> counts(const std::string& name, std::int64_t step = 0) {
  return make_layer(workload_from(name), shape(32, 4), 1, step, 0, 4000).counts;
}

TEST(Workload, OfBalancedGivesEveryExpertTheSame) {
  EXPECT_THAT(counts("balanced"), testing::Each(500));
}

TEST(Workload, OfAHotExpertGivesItItsShare) {
  // The others share the rest: 4000 * (4 - 0.6) / 31 each, by chance within 5 deviations.
  const auto load = counts("hot-expert:0.6");
  const auto hot = std::ranges::max_element(load);
  EXPECT_NEAR(static_cast<double>(*hot), 2400, 5 * std::sqrt(4000 * 0.6 * 0.4));
  for (auto expert = load.begin(); expert != load.end(); ++expert) {
    if (expert == hot) continue;
    EXPECT_NEAR(static_cast<double>(*expert), 4000 * 3.4 / 31, 110);
  }
}

TEST(Workload, OfARotatingHotSpotMovesOnWhenItIsTime) {
  const auto hot = [](std::int64_t step) {
    const auto load = counts("rotating:0.9:3", step);
    return std::ranges::max_element(load) - load.begin();
  };
  EXPECT_EQ(hot(0), hot(2));
  EXPECT_EQ(hot(3), (hot(0) + 1) % 32);
  EXPECT_EQ(hot(96), hot(0)) << "after 32 experts it is back";
}

TEST(Workload, OfABurstIsUniformInBetween) {
  EXPECT_LT(std::ranges::max(counts("burst:0.9:4", 2)), 650);
  EXPECT_GT(std::ranges::max(counts("burst:0.9:4", 3)), 3400);
}

TEST(Workload, OfAHotRankKeepsToOneBlockOfExperts) {
  const auto load = counts("hot-rank:0.8:8");
  std::vector<std::int64_t> blocks;
  for (auto begin = load.begin(); begin != load.end(); begin += 4) {
    blocks.push_back(std::accumulate(begin, begin + 4, std::int64_t{0}));
  }
  std::ranges::sort(blocks, std::greater<>());
  EXPECT_GT(blocks[0], 3 * blocks[1]) << "0.8 of the first draws; later ones find it emptier";
}

TEST(Workload, OfPairsBringsPartnersTogether) {
  const auto together = [](const std::string& name) {
    const TraceLayer layer = make_layer(workload_from(name), shape(32, 4), 1, 0, 0, 4000);
    std::int64_t count = 0;
    for (std::size_t t = 0; t < layer.chosen.size(); t += 4) {
      const auto row = std::span(layer.chosen).subspan(t, 4);
      for (const std::int32_t expert : row) {
        count += expert < 16 && std::ranges::find(row, expert + 16) != row.end() ? 1 : 0;
      }
    }
    return count;
  };
  EXPECT_EQ(together("pairs:1"), 8000) << "two whole pairs a token";
  EXPECT_GT(together("pairs:0.5"), 4000);
  EXPECT_LT(together("uniform"), 1200) << "4000 * 16 * (4 * 3) / (32 * 31) = 774";
}

TEST(Workload, OfZeroTokensLeavesExpertsOut) {
  EXPECT_EQ(std::ranges::count(counts("zero-token:7"), 0), 7);
  EXPECT_EQ(std::ranges::count(counts("zero-token:28"), 4000), 4);
}

TEST(Workload, OfALoadTableFollowsItsDomainsInTurn) {
  Workload workload = workload_from("load:" + kTable);
  ASSERT_EQ(workload.domains.size(), 2U);
  EXPECT_EQ(top_k_of(*workload.table), 4);
  const TraceInfo info = shape(32, 4, 3);
  const auto busiest = [&](std::int64_t step) {
    const auto load = make_layer(workload, info, 1, step, 2, 4000).counts;
    return std::ranges::max_element(load) - load.begin();
  };
  const auto table_busiest = [&](std::size_t domain) {
    const auto& means = workload.table->domains[domain].means[2];
    return std::ranges::max_element(means) - means.begin();
  };
  EXPECT_EQ(busiest(0), table_busiest(0));
  EXPECT_EQ(busiest(1), table_busiest(1));
  EXPECT_EQ(busiest(2), table_busiest(0));
  workload.domain_steps = 2;
  EXPECT_EQ(busiest(1), table_busiest(0));
  EXPECT_EQ(find_domain(*workload.table, "math"), (std::vector<std::size_t>{1}));
  EXPECT_EQ(find_domain(*workload.table, "mmlu_pro_test/law"), (std::vector<std::size_t>{0}));
}

std::string refusal(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Workload, ThatCannotBeIsRefusedInTheseWords) {
  const auto form = [](const std::string& name) {
    return refusal([&] { (void)workload_from(name); });
  };
  EXPECT_EQ(form("zip:1"), "--workload: got 'zip:1', want one of " + workload_forms());
  EXPECT_EQ(form("zipf"), "--workload: got 'zipf', want zipf:S with S from 0 to 100");
  EXPECT_EQ(form("zipf:nan"), "--workload: got 'zipf:nan', want zipf:S with S from 0 to 100");
  EXPECT_EQ(form("hot-expert:1.5"),
            "--workload: got 'hot-expert:1.5', want hot-expert:SHARE with a share from 0 to 1");
  EXPECT_EQ(form("rotating:0.5:0"),
            "--workload: got 'rotating:0.5:0', want rotating:SHARE:STEPS with a share from 0 to 1 "
            "and a count from 1");
  EXPECT_EQ(form("balanced:2"), "--workload: got 'balanced:2', want balanced");
  const auto fits = [](const std::string& name, const TraceInfo& info) {
    return refusal([&] { validate(workload_from(name), info); });
  };
  EXPECT_EQ(fits("hot-rank:0.5:9", shape(8, 2)),
            "--workload: hot-rank:0.5:9 of 8 experts and 2 slots, want at most an expert a rank");
  EXPECT_EQ(fits("zero-token:7", shape(8, 2)),
            "--workload: zero-token:7 of 8 experts and 2 slots, want at least as many experts left "
            "as slots");
  EXPECT_EQ(fits("load:" + kTable, shape(8, 2, 3)),
            "--workload: load:" + kTable +
                " of 8 experts and 3 layers, want the table's 32 and at most 3");
}

TEST(LoadTable, ThatIsBadIsRefusedWithItsLine) {
  const auto parsed = [](const std::string& text) {
    return refusal([&] { (void)parse_load_table(text, "t.csv"); });
  };
  const std::string head = "benchmark,domain,tokens,layer,e0,e1\n";
  EXPECT_EQ(parsed(""), "t.csv:0: got no row, want at least one");
  EXPECT_EQ(parsed("a,b\n"), "t.csv:1: column 1, got 'a', want 'benchmark'");
  EXPECT_EQ(parsed("benchmark,domain,tokens,layer,e1\n"), "t.csv:1: column 5, got 'e1', want 'e0'");
  EXPECT_EQ(parsed(head + "a,b,5,0,0.5\n"), "t.csv:2: 5 cells, want 6");
  EXPECT_EQ(parsed(head + "a,b,5,1,0.5,0.5\n"), "t.csv:2: domain 'b' has layer 1, want 0");
  EXPECT_EQ(parsed(head + "a,b,5,0,0.5,1.5\n"),
            "t.csv:2: e1, got '1.5', want a number from 0 to 1");
  EXPECT_EQ(parsed(head + "a,\"b,5,0,0.5,1\n"),
            "t.csv:2: got a quote that does not end, want a second one");
  EXPECT_EQ(parsed(head + "a,b,5,0,1,0\na,b,5,1,1,0\na,c,5,0,1,0\n"),
            "t.csv:4: domain 'c' has 1 layers, want 2 as the first");
  const LoadTable table = parse_load_table(head + "a,b,5,0,0.25,0.75\n", "t.csv");
  EXPECT_EQ(refusal([&] { (void)find_domain(table, "c"); }),
            "--domain: got 'c', want one of the 1 of the table, such as b");
}

TEST(LoadTable, BecomesATraceOfCounts) {
  const RoutingTrace trace = trace_of(read_load_table(kTable), 4);
  ASSERT_EQ(trace.steps.size(), 2U);
  const TraceLayer& layer = trace.steps[0].layers[0];
  EXPECT_EQ(layer.tokens, 498730);
  EXPECT_NEAR(static_cast<double>(layer.counts[0]), 0.0661 * 498730, 10);
  for (const TraceStep& step : trace.steps) {
    for (const TraceLayer& each : step.layers) {
      EXPECT_EQ(wrong_with(trace.info, each).value_or(""), "");
    }
  }
  EXPECT_EQ(refusal([] { (void)trace_of(read_load_table(kTable), 3); }),
            "load table: domain 'law' has 4 experts a token, want at most 3");
  // Rounded means of one slot a token that sum to more: as many slots as there are.
  const auto table =
      parse_load_table("benchmark,domain,tokens,layer,e0,e1\na,b,1000,0,0.9,0.2\n", "t");
  EXPECT_THAT(trace_of(table, 1).steps[0].layers[0].counts, testing::ElementsAre(818, 182));
}

TEST(Replay, OfCountsGivesEveryExpertExactlyAsMany) {
  const std::vector<std::int64_t> counts{7, 0, 3, 7, 2};
  const Chosen chosen = choice_with_counts(counts, 7, 3, 4, 1);
  EXPECT_EQ(counts_of(chosen, 5), counts);
  TraceInfo info = shape(5, 3, 1);
  EXPECT_EQ(wrong_with(info, {.tokens = 7, .counts = counts, .chosen = chosen, .weights = {}})
                .value_or(""),
            "");
  EXPECT_EQ(choice_with_counts(counts, 7, 3, 4, 1), chosen);
  EXPECT_NE(choice_with_counts(counts, 7, 3, 5, 1), chosen);
}
}  // namespace
}  // namespace switchyard::runtime
