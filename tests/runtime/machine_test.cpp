// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/machine.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard::runtime {
namespace {
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kTwoNodes = R"(
  version: 1 name: "two" nodes: 2 ranks_per_node: 4 sockets_per_node: 2 cores_per_node: 8 nics_per_node: 2
  node { latency_us: 1 gigabytes_per_s: 20 total_gigabytes_per_s: 50 }
  rack { latency_us: 2 gigabytes_per_s: 12.5 message_us: 0.5 duplex: half
         step { from_bytes: 65536 latency_factor: 3 bandwidth_factor: 0.5 } })";

std::string said(const std::string& text) {
  try {
    (void)machine_from_text(text, "m");
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// A machine of 16 nodes whose fabric is `topology`.
std::string with(const std::string& topology) {
  return "nodes: 16 ranks_per_node: 1 rack { gigabytes_per_s: 1 } " + topology;
}
std::string one_node(const std::string& more) {
  return "nodes: 1 ranks_per_node: 8 node { gigabytes_per_s: 1 } " + more;
}

TEST(Machine, ReadsUnitsAndFillsInWhatIsLeftOut) {
  const Machine machine = machine_from_text(kTwoNodes, "two");
  EXPECT_EQ(machine.ranks(), 8);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kNode).latency_s, 1e-6);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kNode).bytes_per_s, 20e9);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kCore).bytes_per_s, 20e9);
  EXPECT_EQ(machine.cost(Tier::kSocket).total_bytes_per_s, 0);
  EXPECT_TRUE(machine.cost(Tier::kRack).half_duplex);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kFabric).bytes_per_s, 25e9);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kRack).latency_of(65535), 2e-6);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kRack).latency_of(65536), 6e-6);
  EXPECT_DOUBLE_EQ(machine.cost(Tier::kRack).bandwidth_of(65536), 6.25e9);
}

TEST(Machine, BothDirectionsOfACardAverageOutOverItsPairs) {
  const auto with_ratio = [](const std::string& ratio) {
    return "nodes: 2 ranks_per_node: 1 rack { gigabytes_per_s: 1 burst_bytes: 65536 " + ratio + "}";
  };
  const Machine two = machine_from_text(with_ratio("exchange_ratio: 1.6"), "two");
  EXPECT_DOUBLE_EQ(two.cost(Tier::kRack).burst_bytes, 65536);
  EXPECT_DOUBLE_EQ(two.card_both_bytes_per_s(), 2e9 / 1.6);
  EXPECT_DOUBLE_EQ(two.with_ranks(10).card_both_bytes_per_s(), 2e9 / 1.2);
  EXPECT_EQ(machine_from_text(with_ratio(""), "two").card_both_bytes_per_s(), 0);
  EXPECT_EQ(to_text(machine_from_text(to_text(two), "two")), to_text(two));
  EXPECT_THAT(said(with_ratio("exchange_ratio: 2.5")),
              HasSubstr("rack.exchange_ratio: got 2.5, want 1 to 2"));
  EXPECT_THAT(said(with_ratio("exchange_ratio: 1.5 duplex: half")), HasSubstr("half duplex is 2"));
  EXPECT_THAT(said("nodes: 2 ranks_per_node: 1 rack { gigabytes_per_s: 1 burst_bytes: -1 }"),
              HasSubstr("rack.burst_bytes"));
}

TEST(Machine, KnowsWhatTwoRanksHaveInCommon) {
  Machine machine = machine_from_text(kTwoNodes, "two");
  EXPECT_EQ(machine.tier_of(0, 1), Tier::kSocket);
  EXPECT_EQ(machine.tier_of(1, 2), Tier::kNode);
  EXPECT_EQ(machine.tier_of(3, 4), Tier::kRack);
  EXPECT_EQ(machine.nic_of(5), 0);
  EXPECT_EQ(machine.nic_of(6), 1);
  machine.cores_per_node = 2;  // one a socket
  EXPECT_EQ(machine.tier_of(4, 5), Tier::kCore);
  EXPECT_DOUBLE_EQ(machine.crowding(), 2);
  machine.processors = 2;
  EXPECT_DOUBLE_EQ(machine.crowding(), 4);
}

TEST(Machine, NodesOfOneSwitchAreARack) {
  const Machine tree = machine_from_text(with("fat_tree { down: [4, 4] taper: 2 }"), "m");
  EXPECT_THAT(tree.fabric.up, ElementsAre(1, 2));
  EXPECT_EQ(tree.tier_of(0, 3), Tier::kRack);
  EXPECT_EQ(tree.tier_of(3, 4), Tier::kFabric);
  const Machine torus = machine_from_text(with("torus { size: [4, 4] }"), "m");
  EXPECT_EQ(torus.tier_of(0, 1), Tier::kFabric);
}

TEST(Machine, ExpertsTakeTheirMeasuredTimeElseThatOfTheirType) {
  const Machine machine = machine_from_text(
      one_node("rate { type: float32 hidden: 64 width: 32 point { rows: 1 us: 2 } "
               "  point { rows: 5 us: 6 } }"
               "rate { type: float32 gigaflops: 1 gigabytes_per_s: 2 call_us: 1 }"),
      "m");
  const auto us = [&](int hidden, int rows) {
    return 1e6 * machine.expert_seconds(experts::DType::kFloat32, hidden, 32, rows);
  };
  EXPECT_DOUBLE_EQ(us(64, 0), 0);
  EXPECT_DOUBLE_EQ(us(64, 1), 2);
  EXPECT_DOUBLE_EQ(us(64, 2), 3);
  EXPECT_DOUBLE_EQ(us(64, 10), 12);
  EXPECT_DOUBLE_EQ(us(10, 1), 1 + 1.92);  // 960 weights: reading takes as long as the product
  EXPECT_DOUBLE_EQ(us(10, 2), 1 + 3.84);
  EXPECT_THROW((void)machine.expert_seconds(experts::DType::kInt8, 64, 32, 1),
               std::invalid_argument);
}

TEST(Machine, GrowsAsFarAsItsFabricHasRoom) {
  const Machine machine = machine_from_text(with("fat_tree { down: [4, 8] }"), "m");
  EXPECT_EQ(machine.with_ranks(32).nodes, 32);
  EXPECT_EQ(machine_from_text(kTwoNodes, "m").with_ranks(9).nodes, 3);
  try {
    (void)machine.with_ranks(33);
    FAIL() << "nothing was thrown";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(),
                 "--ranks: got 33, want 1 to 32: what the fat tree of m has room for");
  }
}

TEST(Machine, WhatIsWrittenIsReadBack) {
  for (const std::string& name : machine_names()) {
    const Machine machine = machine_from(name);
    const std::string text = to_text(machine);
    EXPECT_EQ(to_text(machine_from_text(text, name)), text);
    EXPECT_FALSE(machine.source.empty());
  }
  EXPECT_THAT(machine_names(), Contains("h800-cx7"));
  EXPECT_EQ(machine_from("h800").name, "h800-cx7");
  EXPECT_THROW((void)machine_from("cpu-"), std::invalid_argument);  // two begin so
}

TEST(BadMachine, IsRefusedWithWhatWouldDo) {
  const struct {
    std::string text;
    std::string error;
  } cases[] = {
      {"nodes: 1 ranks_per_nodes: 2",
       "m:1:25: Message type \"switchyard.machine.v1.Machine\" has no"
       " field named \"ranks_per_nodes\"."},
      {"version: 2 nodes: 1", "m: machine format version 2, want at most 1"},
      {"ranks_per_node: 1", "m: nodes: got 0, want 1 to 1048576"},
      {"nodes: 1048576 ranks_per_node: 2 node { gigabytes_per_s: 1 } rack { gigabytes_per_s: 1 }",
       "m: ranks_per_node: got 2, want 1 to 1"},
      {"nodes: 1 ranks_per_node: 2", "m: node: got none, want it: nodes have several ranks"},
      {"nodes: 2 ranks_per_node: 1", "m: rack: got none, want it: there are several nodes"},
      {one_node("nics_per_node: 3"),
       "m: nics_per_node: got 3, want a divisor of 8 (ranks_per_node), nearest is 2"},
      {one_node("sockets_per_node: 7"),
       "m: sockets_per_node: got 7, want a divisor of 8 (cores_per_node), nearest is 8"},
      {one_node("socket { latency_us: 1 }"),
       "m: socket.gigabytes_per_s: got 0, want a number above 0"},
      {one_node("socket { gigabytes_per_s: 1 latency_us: -1 }"),
       "m: socket.latency_us: got -1, want a number from 0"},
      {one_node("socket { gigabytes_per_s: inf }"),
       "m: socket.gigabytes_per_s: got inf, want a number above 0"},
      {one_node("core { gigabytes_per_s: 1 step { from_bytes: 9 } step { from_bytes: 9 } }"),
       "m: core.step.from_bytes: got 9, want more than 9"},
      {with("fabric { gigabytes_per_s: 1 message_us: 1 }"),
       "m: fabric.message_us: got 1, want none: it is rack.message_us"},
      {with("fat_tree { down: [4, 3] }"),
       "m: fat_tree.down: got [4, 3], room for 12 nodes, want "
       "room for 16: nearest is 4 for the 3"},
      {with("fat_tree { down: [16, 2] taper: 3 }"),
       "m: fat_tree.taper: got 3 for 16 links down, want a whole number of links up: nearest is "
       "3.2"},
      {with("fat_tree { down: [16] taper: 2 }"),
       "m: fat_tree.taper: got 1, want at most 0: one for each level but the highest"},
      {with("dragonfly { groups: 16 routers_per_chassis: 8 nodes_per_router: 1 }"),
       "m: dragonfly.groups: got 16, want at most 8, the routers of a group, each of which reaches "
       "one other group: nearest is 8 groups, or routers_per_chassis 16"},
      {with("dragonfly { groups: 2 routers_per_chassis: 4 nodes_per_router: 1 }"),
       "m: dragonfly.nodes_per_router: got 1, room for 8 nodes, want room for 16: nearest is 2 for "
       "the 1"},
      {with("torus { size: [16, 1] }"), "m: torus.size: got 1, want 2 to 1048576"},
      {with("torus { size: [2, 2, 2] }"),
       "m: torus.size: got [2, 2, 2], room for 8 nodes, want "
       "room for 16: nearest is 4 for the 2"},
      {one_node("rate { type: int8 hidden: 4 point { rows: 1 us: 1 } }"),
       "m: rate.int8: got the shape 4 x 0, want hidden and width above 0, or neither"},
      {one_node("rate { gigaflops: 1 } rate { gigaflops: 2 }"),
       "m: rate.float32: got two of any shape, want one"},
      {one_node("rate { hidden: 4 width: 4 point { rows: 2 us: 1 } point { rows: 1 us: 1 } }"),
       "m: rate.float32.point.rows: got 1, want more than 2"},
      {one_node("dispatch_us: nan"), "m: dispatch_us: got nan, want a number from 0"},
  };
  for (const auto& it : cases) EXPECT_THAT(said(it.text), HasSubstr(it.error)) << it.text;
}
// A calibration of four ranks on two cores is asked about two ranks, and about another node.
TEST(Machine, RanksThatShareCoresShareThemWithThoseThatAreThere) {
  const Machine shared = machine_from_text(
      "version: 1 nodes: 1 ranks_per_node: 4 cores_per_node: 2\n"
      "node { latency_us: 1 gigabytes_per_s: 1 }",
      "m");
  EXPECT_EQ(shared.with_ranks(4).crowding(), 2);
  EXPECT_EQ(shared.with_ranks(2).crowding(), 1);
  EXPECT_EQ(shared.with_ranks(3).nodes, 1);
  try {
    (void)shared.with_ranks(8);
    FAIL() << "a network that nobody has described costs nothing";
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(), HasSubstr("--ranks: got 8, want at most 4: m is one node"));
  }
}
}  // namespace
}  // namespace switchyard::runtime
