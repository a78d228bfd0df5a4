// SPDX-License-Identifier: Apache-2.0
// Timelines: what is recorded, what is forgotten, and the file that becomes of them.
#include <algorithm>
#include <cmath>
#include <gmock/gmock.h>
#include <memory>
#include <nlohmann/json.hpp>

#include "comm/group/collective.hpp"
#include "comm/group/local_group.hpp"
#include "experts/synthetic.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/report/trace_file.hpp"
#include "runtime/run/token_source.hpp"
#include "tests/runtime/small_block.hpp"
#include "tests/runtime/trace_check.hpp"

namespace switchyard::runtime {
namespace {
using nlohmann::json;
using tests::by_lane;
using tests::ns_of;
using Time = Timeline::Time;

Time at(std::int64_t ns) {
  return Time(std::chrono::nanoseconds(ns));
}

TEST(Timeline, KeepsTheLastEventsOfEachThreadAndCountsTheOthers) {
  Timeline timeline(2, 3);
  for (int i = 0; i < 5; ++i) timeline.task(1, "expert", i, 10 * i, at(i), at(i + 1));
  timeline.span(EventKind::kPhase, "plan", {.step = 4, .layer = 2}, at(7), at(9));
  EXPECT_EQ(timeline.recorded(), 6);
  EXPECT_EQ(timeline.dropped(), 2);
  const auto tasks = timeline.events(1);
  ASSERT_EQ(tasks.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(tasks[i].a, static_cast<std::int64_t>(i) + 2);
    EXPECT_EQ(tasks[i].b, 10 * tasks[i].a);
  }
  const auto spans = timeline.events(0);
  ASSERT_EQ(spans.size(), 1U);
  EXPECT_EQ(spans[0].step, 4);
  EXPECT_EQ(spans[0].layer, 2);
  timeline.clear();
  EXPECT_EQ(timeline.recorded(), 0);
  EXPECT_TRUE(timeline.events(1).empty());
  for (int i = 0; i < 3; ++i) timeline.task(1, "expert", i, 0, at(i), at(i));
  EXPECT_EQ(timeline.events(1).size(), 3U);  // exactly full
  EXPECT_EQ(timeline.dropped(), 0);
}

TEST(Timeline, ThatCannotHoldAnythingIsRefused) {
  EXPECT_THROW(Timeline(0, 10), std::invalid_argument);
  EXPECT_THROW(Timeline(1, 0), std::invalid_argument);
}

json parsed(const std::string& text) {
  json trace = json::parse(text, nullptr, false);
  EXPECT_FALSE(trace.is_discarded()) << text.substr(0, 2000);
  return trace;
}

TEST(TraceFile, SaysWhatWasRecordedInTimeOrderWhateverTheOrderOfRecording) {
  std::string text;
  const auto group = comm::solo_group();
  Timeline timeline(2, 100);
  timeline.waited({.step = 0, .layer = 3, .phase = "combine"}, {.what = "results", .peer = 7},
                  at(5200), at(5300));
  timeline.span(EventKind::kPhase, "combine", {.step = 0, .layer = 3}, at(5000), at(6001));
  timeline.span(EventKind::kPhase, "plan", {.step = 0, .layer = 3}, at(4000), at(4500));
  timeline.span(EventKind::kLayer, "layer", {.step = 0, .layer = 3}, at(4000), at(7000));
  timeline.task(1, "expert", 12, 37, at(4100), at(4200));
  timeline.task(1, "shared", -1, 5, at(4000), at(4050));
  timeline.task(1, "expert, first half", 3, 5, at(4300), at(4310));
  const TraceSummary summary =
      write_trace(*group, timeline, {}, [&](std::string_view piece) { text += piece; });
  EXPECT_EQ(summary.events, 7);
  EXPECT_EQ(summary.dropped, 0);
  const json trace = parsed(text);
  tests::expect_sound(trace, 1, 2);
  auto lanes = by_lane(trace);
  const auto& first = lanes[{0, 0}];
  ASSERT_EQ(first.size(), 4U);
  EXPECT_EQ(first[0].at("name"), "layer 3");
  EXPECT_EQ(first[0].at("ts").get<double>(), 0);
  EXPECT_EQ(first[1].at("name"), "plan");
  EXPECT_EQ(first[2].at("name"), "combine");
  EXPECT_EQ(first[2].at("dur").get<double>(), 1.001);
  EXPECT_EQ(first[3].at("name"), "wait for rank 7");
  EXPECT_EQ(first[3].at("args").at("for"), "results");
  EXPECT_EQ(first[3].at("args").at("phase"), "combine");
  const auto& second = lanes[{0, 1}];
  EXPECT_EQ(second[0].at("name"), "shared");
  EXPECT_EQ(second[1].at("name"), "expert 12");
  EXPECT_EQ(second[1].at("args").at("expert"), 12);
  EXPECT_EQ(second[1].at("args").at("rows"), 37);
  EXPECT_EQ(second[2].at("name"), "expert 3, first half");
}

TEST(TraceFile, OfRanksThatRecordedNothingIsStillOne) {
  std::string text;
  comm::run_local(3, [&](comm::Group& group) {
    const Timeline timeline(1, 4);
    const TraceSummary summary =
        write_trace(group, timeline, {}, [&](std::string_view piece) { text += piece; });
    EXPECT_EQ(summary.events, 0);
  });
  tests::expect_sound(parsed(text), 3, 1);
}

TEST(TraceFile, OfMoreEventsThanOneMessageHoldsIsWhole) {
  constexpr std::int64_t kEvents = 300000;  // 19 MB on their way: two pieces
  std::int64_t lines = 0;
  comm::run_local(2, [&](comm::Group& group) {
    Timeline timeline(1, kEvents);
    const std::int64_t mine = group.rank() == 1 ? kEvents : 1;
    for (std::int64_t i = 0; i < mine; ++i) timeline.task(0, "expert", i, 1, at(i), at(i + 1));
    const auto count = [&](std::string_view text) { lines += std::ranges::count(text, '\n'); };
    EXPECT_EQ(write_trace(group, timeline, {}, count).events, kEvents + 1);
  });
  EXPECT_GT(lines, kEvents);
}

struct Recorded {
  int ranks = 1;
  int threads = 1;
  bool node_queue = true;
  std::int64_t capacity = 10000;
};

/// Three steps over two layers, recorded by every rank.
json trace_of_layers(const Recorded& wanted, TraceSummary& summary) {
  const auto block = tests::small_block(20, 12, 7);
  std::string text;
  comm::run_local(wanted.ranks, [&](comm::Group& group) {
    TraceRecorder recorder(group, wanted.threads, wanted.capacity);
    std::vector<std::unique_ptr<MoeLayer>> layers;
    for (int i = 0; i < 2; ++i) {
      experts::SyntheticSource source(block, 3, static_cast<std::uint32_t>(i), false, false);
      LayerOptions options;
      options.threads = wanted.threads;
      options.node_queue = wanted.node_queue;
      options.layer = 5 + i;
      options.timeline = recorder.timeline();
      layers.push_back(std::make_unique<MoeLayer>(
          group, block, source, Placement::round_robin(7, group.size()), options));
    }
    Coordinator coordinator(group, std::move(layers), recorder.timeline());
    const auto share = share_of(41, group.rank(), group.size());
    experts::Matrix tokens(share.count, 20);
    experts::fill_tokens(3, 0, share.first, tokens.view());
    (void)coordinator.step(0, share.first, tokens.view(), {});  // to be forgotten
    recorder.start();
    for (int step = 0; step < 3; ++step)
      (void)coordinator.step(step, share.first, tokens.view(), {});
    const TraceSummary mine = recorder.finish([&](std::string_view piece) { text += piece; });
    if (group.rank() == 0) summary = mine;
  });
  return parsed(text);
}

/// Events of a category in one rank's lane 0, by name.
std::map<std::string, int> counted(const std::vector<json>& events, const std::string& category) {
  std::map<std::string, int> names;
  for (const json& event : events) {
    if (event.value("cat", "") == category) ++names[event.at("name")];
  }
  return names;
}

TEST(TraceFile, OfARunHasEveryStepLayerAndPhaseOfEveryRankOnce) {
  TraceSummary summary;
  const json trace = trace_of_layers({.ranks = 3, .threads = 2}, summary);
  tests::expect_sound(trace, 3, 2);
  EXPECT_EQ(summary.dropped, 0);
  EXPECT_EQ(trace.at("otherData").at("events"), summary.events);
  auto lanes = by_lane(trace);
  for (int rank = 0; rank < 3; ++rank) {
    const auto& events = lanes[{rank, 0}];
    EXPECT_THAT(counted(events, "step"),
                testing::ElementsAre(std::pair("step 0", 1), std::pair("step 1", 1),
                                     std::pair("step 2", 1)));
    EXPECT_THAT(counted(events, "layer"),
                testing::ElementsAre(std::pair("layer 5", 3), std::pair("layer 6", 3)));
    const auto phases = counted(events, "phase");
    for (const char* phase : {"route", "plan", "dispatch", "experts", "combine"}) {
      EXPECT_EQ(phases.at(phase), 6) << "rank " << rank << ", " << phase;
    }
    EXPECT_EQ(phases.at("always-on"), 12);  // begun while rows travel, ended after combine
    std::map<std::string, int> counters;
    for (const json& event : events) {
      if (event.at("ph") == "C") ++counters[event.at("name")];
    }
    EXPECT_EQ(counters["rows computed"], 6);
    EXPECT_EQ(counters["bytes sent"], 6);
  }
}

/// Tasks on experts; each must lie within an experts phase of its rank.
std::vector<json> tasks_of(const json& trace) {
  std::vector<json> tasks;
  auto lanes = by_lane(trace);
  for (const auto& [lane, events] : lanes) {
    const auto& phases = lanes[{lane.first, 0}];
    for (const json& event : events) {
      if (event.value("cat", "") != "task" || !event.at("args").contains("expert")) continue;
      const std::int64_t begin = ns_of(event.at("ts"));
      const std::int64_t end = begin + ns_of(event.at("dur"));
      EXPECT_TRUE(std::ranges::any_of(phases, [&](const json& phase) {
        return phase.at("name") == "experts" && ns_of(phase.at("ts")) <= begin &&
               end <= ns_of(phase.at("ts")) + ns_of(phase.at("dur"));
      })) << event;
      tasks.push_back(event);
    }
  }
  return tasks;
}

TEST(TraceFile, OfARunComputesEveryRowOnceInTheExpertsPhase) {
  TraceSummary summary;
  std::int64_t rows = 0;
  for (const json& task : tasks_of(trace_of_layers({.ranks = 2, .node_queue = false}, summary))) {
    rows += task.at("args").at("rows").get<std::int64_t>();
  }
  EXPECT_EQ(rows, 41 * 3 * 2 * 3);  // tokens, slots, layers, steps
}

TEST(TraceFile, OfARunWhoseRanksShareTheirTasksNamesEveryExpert) {
  TraceSummary summary;
  std::map<std::int64_t, int> experts;
  const json trace = trace_of_layers({.ranks = 3, .threads = 2}, summary);
  tests::expect_sound(trace, 3, 2);
  for (const json& task : tasks_of(trace)) ++experts[task.at("args").at("expert")];
  EXPECT_EQ(experts.size(), 7U);
}

TEST(TraceFile, OfTooFewEventsKeepsTheLastOnesAndSaysHowManyWent) {
  TraceSummary summary;
  const json trace = trace_of_layers({.ranks = 2, .capacity = 16}, summary);
  tests::expect_sound(trace, 2, 1);
  EXPECT_EQ(summary.events, 32);
  EXPECT_GT(summary.dropped, 0);
  EXPECT_EQ(trace.at("otherData").at("dropped_events"), summary.dropped);
  EXPECT_EQ(counted(by_lane(trace)[{0, 0}], "step").count("step 2"), 1U);
}
}  // namespace
}  // namespace switchyard::runtime
