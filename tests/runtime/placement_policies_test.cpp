// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

#include "workloads.hpp"

#include "runtime/placement/judge/traffic.hpp"
#include "runtime/placement/policies/all.hpp"
#include "runtime/placement/policies/bound.hpp"
#include "runtime/placement/policies/eplb.hpp"
#include "runtime/placement/policies/hosted.hpp"

namespace switchyard::runtime {
namespace {
using testing::ElementsAre;
using testing::ElementsAreArray;

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// Rows of the busiest rank, as a plan would have it.
double worst(const Workload& workload, const Placement& placement) {
  const HostedRows hosted = hosted_rows(workload.steps, placement);
  return static_cast<double>(*std::max_element(hosted.of_rank.begin(), hosted.of_rank.end()));
}

Placement placed(const char* policy, const Workload& workload, const MachineShape& shape) {
  return place(policy_from(policy), workload.load(), shape);
}

// Two layers of the README of github.com/deepseek-ai/EPLB (MIT License, Copyright (c) 2025
// DeepSeek), and the placement that it prints: 16 copies, 4 groups, 2 nodes, 8 ranks.
TEST(Eplb, GivesThePlacementOfItsReadme) {
  const std::vector<double> first{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86};
  const std::vector<double> second{20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27};
  const EplbShape shape{.copies = 16, .groups = 4, .nodes = 2, .ranks = 8};
  EXPECT_THAT(eplb_physical(first, shape),
              ElementsAre(5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1));
  EXPECT_THAT(eplb_physical(second, shape),
              ElementsAre(7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1));
}

/// Zipf of 1.2, 256 experts, 8 a token, on 32 ranks.
Workload zipf_at_scale(std::int64_t step) {
  return zipf(1.2, 256, 8, 65536, step);
}

TEST(Search, ComesWithinFivePercentOfTheBoundOnZipf) {
  for (const std::int64_t slots : {8, 9, 10, 12}) {
    const MachineShape shape{.ranks = 32, .ranks_per_node = 8, .slots = slots};
    const Workload past = zipf_at_scale(0);
    const Workload next = zipf_at_scale(1);
    const Placement placement = placed("search", past, shape);
    EXPECT_LT(worst(past, placement) / least_worst(past.rows, shape), 1.05) << slots;
    EXPECT_LT(worst(next, placement) / least_worst(next.rows, shape), 1.05) << slots;
  }
}

TEST(Policies, BeatLinearOnEverySkewedWorkload) {
  const MachineShape shape{.ranks = 8, .ranks_per_node = 4, .slots = 10};
  std::vector<Workload> workloads;
  workloads.push_back(zipf(1.2, 64, 4, 8192));
  workloads.push_back(zipf(0.6, 64, 8, 8192));
  workloads.push_back(hot_expert(64, 40, 2, 8192));
  workloads.push_back(hot_rank(64, 8, 10, 4, 8192));
  workloads.push_back(pairs(64, 4, 8192));
  for (const auto& workload : workloads) {
    const auto experts = static_cast<std::int64_t>(workload.rows.size());
    const double linear = worst(workload, Placement::linear(experts, shape.ranks));
    for (const auto& policy : policies()) {
      if (policy.name == "linear") continue;
      const double rows = worst(workload, place(policy, workload.load(), shape));
      if (policy.name == "round-robin" && workload.name == "hot expert") continue;
      EXPECT_LT(rows, linear) << policy.name << " on " << workload.name;
    }
  }
}

// Round-robin is as blind to the load as linear: an expert that is hot by itself is no better off
// among other neighbours.
TEST(Policies, RoundRobinCannotHelpASingleHotExpert) {
  const Workload workload = hot_expert(64, 40, 2, 8192);
  const double linear = worst(workload, Placement::linear(64, 8));
  const double dealt = worst(workload, Placement::round_robin(64, 8));
  EXPECT_NEAR(dealt / linear, 1, 0.02);
}

TEST(Together, SendsFewestRowsToOtherNodesWhereExpertsAreChosenInPairs) {
  const Workload workload = pairs(64, 4, 8192);
  const MachineShape shape{.ranks = 16, .ranks_per_node = 4, .slots = 6};
  const auto crossing = [&](const Placement& placement) {
    return traffic_of(workload.steps, placement, shape).rows_a_node;
  };
  const auto together = static_cast<double>(crossing(placed("together", workload, shape)));
  for (const auto& other : policies()) {
    if (other.name == "together") continue;
    const auto rows = static_cast<double>(crossing(place(other, workload.load(), shape)));
    EXPECT_LT(together, rows) << other.name;
    if (other.name == "linear" || other.name == "round-robin") {
      EXPECT_LT(together, 0.8 * rows);
    }
  }
}

TEST(Together, OnOneNodeBringsPairsToOneRank) {
  const Workload workload = pairs(32, 2, 4096);
  const MachineShape shape{.ranks = 8, .ranks_per_node = 8, .slots = 6};
  const auto rows = [&](const Placement& placement) {
    return traffic_of(workload.steps, placement, shape).node.rows;
  };
  EXPECT_LT(static_cast<double>(rows(placed("together", workload, shape))),
            0.85 * static_cast<double>(rows(Placement::linear(32, 8))));
}

TEST(Copies, MakesNoMoreThanHelp) {
  Workload even = workload_of("even", 8, experts::Routing{});
  even.rows.assign(8, 100.0);
  const MachineShape shape{.ranks = 4, .ranks_per_node = 4, .slots = 6};
  const Placement placement = placed("copies", even, shape);
  for (std::int32_t e = 0; e < 8; ++e) EXPECT_EQ(placement.hosts_of(e).size(), 1U);
  even.rows[3] = 700;
  EXPECT_GT(placed("copies", even, shape).hosts_of(3).size(), 1U);
}

TEST(Shadow, CopiesTheHotExpertToEveryRankUnlessThatCostsMore) {
  Workload hot = workload_of("hot", 8, experts::Routing{});
  hot.rows = {10, 10, 10, 200, 10, 10, 10, 10};
  const MachineShape shape{.ranks = 4, .ranks_per_node = 4, .slots = 3};
  EXPECT_THAT(placed("shadow", hot, shape).hosts_of(3), ElementsAre(0, 1, 2, 3));
  const PolicyOptions dear{.copy_rows = 1000};
  const Placement placement = place(policy_from("shadow"), hot.load(), shape, dear);
  EXPECT_THAT(placement.hosts_of(3), ElementsAre(1));
}

/// The least rows of the busiest rank over every placement, each expert's rows split as is best:
/// for a placement that is the largest, over sets of experts, of their rows over the ranks that
/// have any of them (max-flow, min-cut).
class Exhaustive {
 public:
  Exhaustive(std::vector<double> rows, const MachineShape& shape)
      : rows_(std::move(rows)), shape_(shape), used_(static_cast<std::size_t>(shape.ranks), 0) {}
  double least() {
    go(0);
    return least_;
  }

 private:
  void go(std::size_t expert) {
    if (expert == rows_.size()) {
      least_ = std::min(least_, worst_of());
      return;
    }
    for (unsigned mask = 1; mask < 1U << static_cast<unsigned>(shape_.ranks); ++mask) {
      bool fits = true;
      for (std::size_t r = 0; r < used_.size(); ++r) {
        if ((mask >> r & 1U) != 0) fits = ++used_[r] <= shape_.slots && fits;
      }
      hosts_.push_back(mask);
      if (fits) go(expert + 1);
      hosts_.pop_back();
      for (std::size_t r = 0; r < used_.size(); ++r) used_[r] -= mask >> r & 1U;
    }
  }
  [[nodiscard]] double worst_of() const {
    double worst = 0;
    for (unsigned set = 1; set < 1U << static_cast<unsigned>(rows_.size()); ++set) {
      unsigned ranks = 0;
      double rows = 0;
      for (std::size_t e = 0; e < rows_.size(); ++e) {
        if ((set >> e & 1U) == 0) continue;
        ranks |= hosts_[e];
        rows += rows_[e];
      }
      worst = std::max(worst, rows / std::popcount(ranks));
    }
    return worst;
  }
  std::vector<double> rows_;
  MachineShape shape_;
  std::vector<std::int64_t> used_;
  std::vector<unsigned> hosts_;
  double least_ = std::numeric_limits<double>::infinity();
};

TEST(Bound, IsNeverAboveWhatExhaustionFinds) {
  std::mt19937_64 random(3);
  int reached = 0;
  int cases = 0;
  for (int i = 0; i < 300; ++i) {
    const auto experts = 1 + random() % 5;
    const int ranks = 1 + static_cast<int>(random() % 3);
    const auto fewest = (static_cast<std::int64_t>(experts) + ranks - 1) / ranks;
    const MachineShape shape{.ranks = ranks,
                             .ranks_per_node = 1,
                             .slots = fewest + static_cast<std::int64_t>(random() % 2)};
    std::vector<double> rows(experts);
    for (double& each : rows) each = std::pow(1.0 + static_cast<double>(random() % 10), 2) - 1;
    const double bound = least_worst(rows, shape);
    const double least = Exhaustive(rows, shape).least();
    EXPECT_LE(bound, least * (1 + 1e-9)) << experts << " experts, " << ranks << " ranks";
    ++cases;
    reached += bound >= least * (1 - 1e-9) ? 1 : 0;
  }
  EXPECT_GT(reached, cases / 2) << "a bound that is reached that seldom says little";
}

TEST(Bound, OfEvenLoadIsTheMeanAndOfOneExpertWithoutCopiesItsRows) {
  const MachineShape shape{.ranks = 4, .ranks_per_node = 4, .slots = 2};
  EXPECT_DOUBLE_EQ(least_worst(std::vector<double>(8, 5.0), shape), 10);
  EXPECT_NEAR(least_worst(std::vector<double>{100, 1, 1, 1, 1, 1, 1, 1}, shape), 100, 1e-9);
  EXPECT_EQ(least_worst(std::vector<double>(8, 0.0), shape), 0);
  // Six equal experts without a copy on four ranks: one rank has two.
  const MachineShape tight{.ranks = 4, .ranks_per_node = 4, .slots = 2};
  EXPECT_DOUBLE_EQ(least_worst(std::vector<double>(7, 6.0), tight), 12);
}

TEST(Policies, KeepTheirPromisesOnAnyShape) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 400; ++i) {
    const auto experts = static_cast<std::int64_t>(1 + random() % 24);
    const int ranks = static_cast<int>(1 + random() % 30);
    const auto fewest = (experts + ranks - 1) / ranks;
    const MachineShape shape{.ranks = ranks,
                             .ranks_per_node = static_cast<int>(1 + random() % 9),
                             .slots = fewest + static_cast<std::int64_t>(random() % 4)};
    const int top_k = static_cast<int>(1 + static_cast<std::int64_t>(random() % 4) % experts);
    std::vector<double> weights(static_cast<std::size_t>(experts));
    for (double& each : weights) each = std::pow(2.0, static_cast<double>(random() % 8));
    Workload workload = weighted("any", weights, top_k, 64, random());
    if (i % 7 == 0) {
      workload.steps.clear();
      if (i % 2 == 0) workload.rows.assign(workload.rows.size(), 0.0);
    }
    for (const auto& policy : policies()) {
      const Placement placement = place(policy, workload.load(), shape);
      ASSERT_EQ(placement.ranks(), ranks) << policy.name;
      ASSERT_EQ(placement.experts(), experts) << policy.name;
      std::int64_t copies = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const auto own = placement.experts_of(rank);
        copies += static_cast<std::int64_t>(own.size());
        ASSERT_LE(static_cast<std::int64_t>(own.size()), std::max(shape.slots, fewest))
            << policy.name << " " << experts << " " << ranks;
        ASSERT_EQ(std::adjacent_find(own.begin(), own.end()), own.end()) << policy.name;
      }
      for (std::int32_t e = 0; e < experts; ++e) ASSERT_FALSE(placement.hosts_of(e).empty());
      if (!policy.copies) {
        ASSERT_EQ(copies, experts) << policy.name;
      }
      ASSERT_EQ(place(policy, workload.load(), shape), placement) << "not a pure function";
      if (workload.steps.empty()) continue;
      ASSERT_GE(worst(workload, placement) * (1 + 1e-9), least_worst(workload.rows, shape))
          << policy.name;
    }
  }
}

TEST(Hosted, CountsWhatPlansOfAllRanksSend) {
  const Workload workload = zipf(1.0, 16, 4, 1000);
  const MachineShape shape{.ranks = 5, .ranks_per_node = 2, .slots = 6};
  const Placement placement = placed("eplb", workload, shape);
  const LayerTraffic traffic = traffic_of(workload.steps, placement, shape);
  std::vector<double> computed(5, 0.0);
  std::int64_t rows = 0;
  for (int home = 0; home < 5; ++home) {
    const TokenShare share = share_of(1000, home, 5);
    experts::Routing own;
    const auto& all = workload.steps[0];
    own.experts.assign(all.experts.begin() + 4 * share.first,
                       all.experts.begin() + 4 * (share.first + share.count));
    for (std::int64_t t = 1; t <= share.count; ++t) own.offsets.push_back(4 * t);
    const auto plan = make_plan(own, placement, home, 0, share.count, 0, false);
    rows += plan.counts.rows;
    for (std::size_t r = 0; r < 5; ++r) {
      computed[r] += static_cast<double>(plan.offer.results[r]);
    }
  }
  EXPECT_THAT(traffic.computed, ElementsAreArray(computed));
  EXPECT_EQ(traffic.home.rows + traffic.node.rows + traffic.fabric.rows, rows);
  EXPECT_EQ(traffic.slots, 4000);
  EXPECT_LE(traffic.rows_a_node, traffic.fabric.rows);
}

TEST(Place, RefusesWhatCannotBePlaced) {
  const auto why = [](std::vector<double> rows, MachineShape shape) {
    return refusal([&] { check(LayerLoad{.rows = std::move(rows)}, shape); });
  };
  const MachineShape good{.ranks = 2, .ranks_per_node = 2, .slots = 2};
  EXPECT_EQ(why({}, good), "place: got 0 experts, want at least 1");
  EXPECT_EQ(why({1}, {.ranks = 0, .ranks_per_node = 1, .slots = 1}),
            "place: got 0 ranks, want at least 1");
  EXPECT_EQ(why({1}, {.ranks = 1, .ranks_per_node = 0, .slots = 1}),
            "place: got 0 ranks a node, want at least 1");
  EXPECT_EQ(why({1}, {.ranks = 1, .ranks_per_node = 1, .slots = 0}),
            "place: got 0 slots a rank, want at least 1");
  EXPECT_EQ(why({1, 1, 1, 1, 1}, good),
            "place: 2 slots on each of 2 ranks hold 4 copies, want at least 5, one of every "
            "expert");
  EXPECT_EQ(why({1, -1}, good),
            "place: load of expert 1, got -1.000000, want a finite number "
            "from 0");
  EXPECT_EQ(why({std::nan(""), 1}, good),
            "place: load of expert 0, got nan, want a finite number from 0");
  Workload stray = zipf(0, 4, 1, 8);
  stray.rows.resize(2);
  stray.steps[0].experts = {0, 1, 0, 3, 1, 0, 0, 1};
  EXPECT_EQ(refusal([&] { check(stray.load(), good); }),
            "place: a token chose expert 3, want 0 to 1");
  EXPECT_EQ(refusal([] { (void)policy_from("best"); }),
            "--policy: got 'best', want one of linear, round-robin, longest-first, eplb, "
            "eplb-global, together, copies, shadow, search");
  EXPECT_EQ(
      refusal([] { (void)eplb_physical(std::vector<double>(6, 1.0), {.copies = 7, .ranks = 2}); }),
      "eplb: got 7 copies, want a multiple of 2");
  EXPECT_EQ(
      refusal([] { (void)eplb_physical(std::vector<double>(6, 1.0), {.copies = 4, .ranks = 2}); }),
      "eplb: got 4 copies, want at least 6");
}
}  // namespace
}  // namespace switchyard::runtime
