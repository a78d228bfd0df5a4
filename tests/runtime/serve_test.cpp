// SPDX-License-Identifier: Apache-2.0
// Served runs whose ranks are threads that end in the middle.
#include <cstdio>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <set>

#include "comm/group/local_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/mask.hpp"
#include "runtime/serve/serve_run.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kSteps = 12;
constexpr int kExperts = 8;

struct Death {};

RunSettings settings_of(const std::string& placement) {
  RunSettings settings;
  settings.model = "olmoe";
  settings.set = {"hidden_size=32", "routed_experts=8", "top_k=3"};
  settings.layers = 2;
  settings.tokens = 24;
  settings.warmup = 0;
  settings.steps = kSteps;
  settings.placement = placement;
  return settings;
}

struct Served {
  std::optional<RunResult> result;
  ServeReport report;
};

/// What the rank showed that was left; `victims` end before step 4, each in its thread.
Served serve(const RunSettings& settings, int ranks, const std::set<int>& victims, bool reload) {
  Served served;
  comm::run_local(ranks, [&](comm::Group& group) {
    ServeHooks hooks;
    hooks.progress = [&](std::int64_t step, std::int64_t) {
      if (step == 4 && victims.contains(group.rank())) throw Death{};
    };
    hooks.finish = [&](const RunResult& result, const ServeReport& report) {
      EXPECT_FALSE(served.result.has_value()) << "shown twice";
      served.result = result;
      served.report = report;
      return 0;
    };
    try {
      EXPECT_EQ(
          serve_run(group, settings, {.silence = std::chrono::minutes(5), .reload = reload}, hooks),
          0);
    } catch (const Death&) {
    }
  });
  return served;
}

/// Expert e on ranks e and e + 2 of four.
std::string two_copies() {
  const std::string file = testing::TempDir() + "serve_two_copies";
  std::ofstream text(file);
  text << "version: 1\n";
  for (int rank = 0; rank < 4; ++rank) {
    text << "rank {";
    for (int e = 0; e < kExperts; ++e) {
      if (e % 4 == rank || (e + 2) % 4 == rank) text << " expert: " << e;
    }
    text << " }\n";
  }
  return file;
}

TEST(Serve, HasEveryBitOfTheUndisturbedRunWhereReplicasAreLeft) {
  const Served want = serve(settings_of("linear"), 1, {}, false);
  EXPECT_EQ(std::ssize(want.report.fingerprints), kSteps);
  for (const std::set<int>& victims : {std::set<int>{}, {0}, {3}, {0, 1}, {1, 2}}) {
    const Served got = serve(settings_of(two_copies()), 4, victims, false);
    EXPECT_EQ(got.report.fingerprints, want.report.fingerprints);
    EXPECT_EQ(got.result->output_digest, want.result->output_digest);
    EXPECT_EQ(got.report.degraded_slots, 0);
    EXPECT_EQ(got.report.members.size(), 4 - victims.size());
  }
}

TEST(Serve, MasksCountsAndNamesExpertsThatNobodyHas) {
  const Served want = serve(settings_of("round-robin"), 1, {}, false);
  const Served got = serve(settings_of("round-robin"), 4, {1}, false);
  std::set<std::int64_t> named;
  std::int64_t slots = 0;
  for (const DegradedLayer& layer : got.report.layers) {
    for (const auto& [expert, of_expert] : layer.experts) {
      named.insert(expert);
      slots += of_expert;
    }
    EXPECT_GE(layer.slots, layer.tokens);
  }
  EXPECT_EQ(named, (std::set<std::int64_t>{1, 5}));
  EXPECT_EQ(slots, got.report.degraded_slots);
  EXPECT_GT(slots, 0);
  EXPECT_LT(slots, got.report.slots);
  EXPECT_EQ(got.report.slots, want.report.slots);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const auto i = static_cast<std::size_t>(step);
    // The step before the loss may have been done again without the experts.
    if (step < 3) {
      EXPECT_EQ(got.report.fingerprints[i], want.report.fingerprints[i]) << step;
    } else if (step >= 4) {
      EXPECT_NE(got.report.fingerprints[i], want.report.fingerprints[i]) << step;
    }
  }
  EXPECT_THAT(describe_degraded(got.report), testing::HasSubstr("layer 1: "));
}

TEST(Serve, KeepsTheOtherWeightsOfATokenAsTheyAre) {
  const Placement placement = Placement::from_lists({{0, 2}, {3}}, 4, Hosts::kAny);
  EXPECT_THAT(placement.lost(), testing::ElementsAre(1));
  experts::Routing routing;
  routing.offsets = {0, 2, 4};
  routing.experts = {0, 1, 2, 3};
  routing.weights = {0.25F, 0.75F, 0.5F, 0.5F};
  LayerStats stats;
  stats.masked.resize(4);
  mask_lost(placement, routing, stats);
  EXPECT_THAT(routing.experts, testing::ElementsAre(0, experts::kDropped, 2, 3));
  EXPECT_THAT(routing.weights, testing::ElementsAre(0.25F, 0.75F, 0.5F, 0.5F));
  EXPECT_THAT(stats.masked, testing::ElementsAre(0, 1, 0, 0));
  EXPECT_EQ(stats.masked_tokens, 1);
}

TEST(Serve, ReloadsToTheSameBits) {
  const Served want = serve(settings_of("round-robin"), 1, {}, false);
  const Served got = serve(settings_of("round-robin"), 4, {2}, true);
  std::int64_t other = 0;
  for (std::size_t i = 0; i < got.report.fingerprints.size(); ++i) {
    if (got.report.fingerprints[i] != want.report.fingerprints[i]) ++other;
  }
  EXPECT_EQ(other, got.report.degraded_steps);
}

TEST(Placement, RefusesAnExpertWithoutAHostUnlessItIsAskedFor) {
  EXPECT_THROW(Placement::from_lists({{0, 2}, {3}}, 4), std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::runtime
