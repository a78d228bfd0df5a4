// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/fast.hpp"

#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <sstream>

namespace switchyard::runtime {
namespace {
using testing::DoubleNear;
using testing::HasSubstr;

/// One link up and one down a node: enough of a fabric for the sums. Real ones come from SimGrid.
FabricLinks star(const Machine& machine) {
  FabricLinks links;
  for (int node = 0; node < machine.nodes; ++node) {
    for (const char* way : {"up", "down"}) {
      links.names.push_back("node " + std::to_string(node) + " " + way);
      links.bytes_per_s.push_back(machine.cost(Tier::kFabric).bytes_per_s);
    }
  }
  links.route = [](int from, int to) { return std::vector<int>{2 * from, 2 * to + 1}; };
  return links;
}

Machine made(const std::string& text) {
  return machine_from_text("rate { gigaflops: 1 } rate { type: bfloat16 gigaflops: 1 } " + text,
                           "m");
}

/// Rows of 8 bytes, out and back, and nothing beside them.
FastSettings bare() {
  return {.hidden = 2,
          .width = 1,
          .row_bytes = 8,
          .result_bytes = 8,
          .cross_row_bytes = 8,
          .cross_result_bytes = 8,
          .slot_bytes = 0,
          .header_bytes = 0};
}

const std::string kTwoByTwo =
    "nodes: 2 ranks_per_node: 2 node { gigabytes_per_s: 1e-9 } rack { gigabytes_per_s: 1e-9 } "
    "fabric { gigabytes_per_s: 1 }";

/// Four ranks, four experts, one token a rank; two slots.
std::vector<std::int32_t> tokens_of(std::vector<std::vector<std::int32_t>> tokens) {
  std::vector<std::int32_t> chosen;
  for (const auto& slots : tokens) chosen.insert(chosen.end(), slots.begin(), slots.end());
  return chosen;
}

TEST(Fast, CountsRowsOnceARankAndResultsOnceASlot) {
  const Machine machine = made(kTwoByTwo);
  FastEngine engine(machine, star(machine), 4);
  // Rank 0's token goes to 2 and 3, the others stay: cards carry two rows and two results.
  const auto chosen = tokens_of({{2, 3}, {1, 1}, {2, 2}, {3, 3}});
  const LayerChoice choice{.tokens = 4, .top_k = 2, .chosen = chosen};
  const auto flat = engine.layer(choice, Placement::linear(4, 4), bare());
  EXPECT_DOUBLE_EQ(flat.dispatch.network_s, 16);
  EXPECT_EQ(flat.dispatch.limit, "card 0 of node 0, out");
  EXPECT_EQ(flat.combine.limit, "card 0 of node 1, out");
  EXPECT_DOUBLE_EQ(flat.wire_bytes, 32);
  EXPECT_DOUBLE_EQ(flat.logical_bytes, 8 * 16);
  EXPECT_DOUBLE_EQ(flat.tier_bytes[static_cast<std::size_t>(Tier::kRack)], 32);

  FastSettings two_level = bare();
  two_level.two_level = true;
  const auto once = engine.layer(choice, Placement::linear(4, 4), two_level);
  EXPECT_DOUBLE_EQ(once.dispatch.network_s, 8);  // one row to the node, and then on inside
  EXPECT_DOUBLE_EQ(once.combine.network_s, 16);
  EXPECT_DOUBLE_EQ(once.tier_bytes[static_cast<std::size_t>(Tier::kSocket)], 8);
}

TEST(Fast, ARelayCrossesOnceANodeAndTakesTwoHopsInside) {
  const Machine machine = made(kTwoByTwo);
  FastEngine engine(machine, star(machine), 4);
  // Node 0 trades with node 1 through rank 1, and node 1 with node 0 through rank 2.
  const auto chosen = tokens_of({{2, 3}, {1, 1}, {2, 2}, {3, 3}});
  const LayerChoice choice{.tokens = 4, .top_k = 2, .chosen = chosen};
  FastSettings relay = bare();
  relay.relay = true;
  const auto estimate = engine.layer(choice, Placement::linear(4, 4), relay);
  const auto inside = static_cast<std::size_t>(Tier::kSocket);
  const auto across = static_cast<std::size_t>(Tier::kRack);
  // Out: 0 to 1, 1 to 2, 2 to 3, a row each. Home: 3 to 2, 2 results to 1, and both on to 0.
  EXPECT_DOUBLE_EQ(estimate.tier_bytes[across], 8 + 16);
  EXPECT_DOUBLE_EQ(estimate.tier_bytes[inside], 8 + 8 + 8 + 16);
  EXPECT_DOUBLE_EQ(estimate.dispatch.network_s, 8 + 8 + 8);  // one hop after the other
  EXPECT_DOUBLE_EQ(estimate.combine.network_s, 8 + 16 + 16);
  EXPECT_DOUBLE_EQ(estimate.wire_bytes, 64);
}

TEST(Fast, RowsForOneRankAreOneUnlessTheyAreNotDeduplicated) {
  const Machine machine = made(kTwoByTwo);
  FastEngine engine(machine, star(machine), 4);
  const auto chosen = tokens_of({{6, 7}, {2, 3}, {4, 5}, {6, 7}});
  const LayerChoice choice{.tokens = 4, .top_k = 2, .chosen = chosen};
  const auto placement = Placement::linear(8, 4);
  EXPECT_DOUBLE_EQ(engine.layer(choice, placement, bare()).dispatch.network_s, 8);
  FastSettings all = bare();
  all.deduplicate = false;
  EXPECT_DOUBLE_EQ(engine.layer(choice, placement, all).dispatch.network_s, 16);
}

TEST(Fast, HalfDuplexAddsTheDirectionsUp) {
  const Machine machine = made(
      "nodes: 2 ranks_per_node: 1 rack { gigabytes_per_s: 1e-9 duplex: half } "
      "fabric { gigabytes_per_s: 1 }");
  FastEngine engine(machine, star(machine), 2);
  const auto chosen = tokens_of({{1}, {0}});
  const LayerChoice choice{.tokens = 2, .top_k = 1, .chosen = chosen};
  const auto estimate = engine.layer(choice, Placement::linear(2, 2), bare());
  EXPECT_DOUBLE_EQ(estimate.dispatch.network_s, 16);
  EXPECT_EQ(estimate.dispatch.limit, "card 0 of node 0");
}

TEST(Fast, AnExchangeRatioLimitsBothDirectionsTogether) {
  const Machine machine = made(
      "nodes: 2 ranks_per_node: 1 rack { gigabytes_per_s: 1e-9 exchange_ratio: 1.5 } "
      "fabric { gigabytes_per_s: 1 }");
  FastEngine engine(machine, star(machine), 2);
  const auto there_and_back = tokens_of({{1}, {0}});
  const auto there = tokens_of({{1}, {1}});
  const auto placement = Placement::linear(2, 2);
  const auto both =
      engine.layer({.tokens = 2, .top_k = 1, .chosen = there_and_back}, placement, bare());
  EXPECT_DOUBLE_EQ(both.dispatch.network_s, 12);
  EXPECT_EQ(both.dispatch.limit, "card 0 of node 0, both ways");
  const auto one = engine.layer({.tokens = 2, .top_k = 1, .chosen = there}, placement, bare());
  EXPECT_DOUBLE_EQ(one.dispatch.network_s, 8);
}

TEST(Fast, MessagesLatencyAndSharedMemoryCanBeTheLimit) {
  const Machine machine = made(
      "nodes: 1 ranks_per_node: 4 dispatch_us: 5 "
      "node { gigabytes_per_s: 1 total_gigabytes_per_s: 1e-9 latency_us: 2 message_us: 1e6 }");
  Machine shared = machine;
  shared.sockets_per_node = 2;
  shared.cores_per_node = 4;
  FastEngine engine(shared, star(shared), 4);
  const auto chosen = tokens_of({{2}, {3}, {0}, {1}});
  const LayerChoice choice{.tokens = 4, .top_k = 1, .chosen = chosen};
  const auto estimate = engine.layer(choice, Placement::linear(4, 4), bare());
  EXPECT_DOUBLE_EQ(estimate.dispatch.network_s, 32);  // all four rows through the node's memory
  EXPECT_EQ(estimate.dispatch.limit, "all of node 0");
  EXPECT_DOUBLE_EQ(estimate.dispatch.processor_s, 2);  // one sent, one received
  EXPECT_DOUBLE_EQ(estimate.dispatch.seconds, 32 + 7e-6);
}

TEST(Fast, TheSlowestRankComputesLongest) {
  const Machine machine = made("nodes: 1 ranks_per_node: 2 node { gigabytes_per_s: 1 }");
  FastEngine engine(machine, star(machine), 2);
  const auto chosen = tokens_of({{0}, {0}, {0}, {1}});
  const LayerChoice choice{.tokens = 4, .top_k = 1, .chosen = chosen};
  FastSettings settings = bare();
  const auto skewed = engine.layer(choice, Placement::linear(2, 2), settings);
  EXPECT_DOUBLE_EQ(skewed.compute_s, 3 * 12e-9);  // three matrices of 2 weights, two operations
  EXPECT_EQ(skewed.compute_limit, "rank 0: 3 rows");
  EXPECT_DOUBLE_EQ(skewed.balancedness, 2.0 / 3);
  settings.balanced = true;
  EXPECT_DOUBLE_EQ(engine.layer(choice, Placement::linear(2, 2), settings).compute_s, 2 * 12e-9);
}

TEST(Fast, TheBusiestLinksAreNamedOverAllLayers) {
  const Machine machine = made(kTwoByTwo);
  FastEngine engine(machine, star(machine), 4);
  const auto chosen = tokens_of({{2, 3}, {1, 1}, {2, 2}, {3, 3}});
  const LayerChoice choice{.tokens = 4, .top_k = 2, .chosen = chosen};
  for (int layer = 0; layer < 2; ++layer) {
    (void)engine.layer(choice, Placement::linear(4, 4), bare());
  }
  const auto links = engine.busiest(3);
  ASSERT_EQ(links.size(), 3U);
  EXPECT_EQ(links[0].name, "card 0 of node 0, out");
  EXPECT_DOUBLE_EQ(links[0].bytes, 32);
  EXPECT_DOUBLE_EQ(links[0].busy_s, 32);
}

TEST(Fast, RefusesAPlacementOfOtherRanks) {
  const Machine machine = made(kTwoByTwo);
  FastEngine engine(machine, star(machine), 4);
  EXPECT_THROW((void)engine.layer({}, Placement::linear(4, 2), bare()), std::invalid_argument);
}

/// DeepEP's published table: docs/legacy.md of github.com/deepseek-ai/DeepEP at commit 0297fc8,
/// under the MIT licence, copyright (c) 2025 DeepSeek. H800 nodes of 8, one 400 Gb/s card a GPU,
/// 128 tokens a rank, 8 of the experts each, one row for each (token, expert): FP8 with a scale for
/// every 128 values on the way out, bfloat16 on the way back. Only its row of 16 ranks was used to
/// make the preset (dispatch_us, combine_us); the one of 8 ranks never leaves a node.
struct Published {
  int ranks;
  double dispatch_us, combine_us;
};
std::vector<Published> deepep() {
  std::ifstream file(SWITCHYARD_TEST_DATA "/runtime/deepep-v1-lowlatency.csv");
  std::vector<Published> rows;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::vector<double> cells;
    std::istringstream words(line);
    for (std::string cell; std::getline(words, cell, ',');) cells.push_back(std::stod(cell));
    rows.push_back({static_cast<int>(cells[0]), cells[4], cells[6]});
  }
  return rows;
}

TEST(DeepEp, TimesOf32To256RanksFollowFrom16) {
  const auto published = deepep();
  ASSERT_EQ(published.size(), 6U);
  FastSettings settings{.hidden = 7168,
                        .width = 2048,
                        .weights = experts::DType::kFp8,
                        .row_bytes = 7168 + 224,
                        .result_bytes = 14336,
                        .cross_row_bytes = 7168 + 224,
                        .cross_result_bytes = 14336,
                        .slot_bytes = 0,
                        .header_bytes = 0,
                        .deduplicate = false};
  for (const Published& row : published) {
    if (row.ranks < 16) continue;
    const Machine machine = machine_from("h800-cx7").with_ranks(row.ranks);
    FastEngine engine(machine, star(machine), row.ranks);
    // Every rank sends its 1,024 slots to all experts alike: an expert a rank, in turn.
    const std::int64_t tokens = 128LL * row.ranks;
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(tokens) * 8);
    for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
      chosen[slot] = static_cast<std::int32_t>(slot % static_cast<std::size_t>(row.ranks));
    }
    const auto estimate = engine.layer({.tokens = tokens, .top_k = 8, .chosen = chosen},
                                       Placement::linear(row.ranks, row.ranks), settings);
    const double dispatch = 1e6 * estimate.dispatch.seconds / row.dispatch_us;
    const double combine = 1e6 * estimate.combine.seconds / row.combine_us;
    std::printf(
        "EP%d: dispatch %.1f us, published %.0f (%+.1f %%); combine %.1f us, published %.0f "
        "(%+.1f %%)\n",
        row.ranks, 1e6 * estimate.dispatch.seconds, row.dispatch_us, 100 * (dispatch - 1),
        1e6 * estimate.combine.seconds, row.combine_us, 100 * (combine - 1));
    EXPECT_THAT(dispatch, DoubleNear(1, row.ranks == 16 ? 0.005 : 0.05)) << row.ranks;
    EXPECT_THAT(combine, DoubleNear(1, row.ranks == 16 ? 0.005 : 0.13)) << row.ranks;
  }
}
}  // namespace
}  // namespace switchyard::runtime
