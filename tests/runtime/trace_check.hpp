// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What any trace must be, whoever made it: every rank there, spans nested, times in order.
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace switchyard::tests {

/// Nanoseconds of a time in microseconds that was printed with three decimals.
inline std::int64_t ns_of(const nlohmann::json& us) {
  return std::llround(us.get<double>() * 1e3);
}

/// Rank and thread.
using Lane = std::pair<int, int>;

inline std::map<Lane, std::vector<nlohmann::json>> by_lane(const nlohmann::json& trace) {
  std::map<Lane, std::vector<nlohmann::json>> lanes;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "M") continue;
    lanes[{event.at("pid"), event.at("tid")}].push_back(event);
  }
  return lanes;
}

/// Spans of one lane come by time, and each lies within the one that is open or after it.
inline void expect_nested(const std::vector<nlohmann::json>& events, const std::string& where) {
  std::vector<std::pair<std::int64_t, std::int64_t>> open;
  std::int64_t last = 0;
  for (const auto& event : events) {
    const std::int64_t begin = ns_of(event.at("ts"));
    ASSERT_GE(begin, last) << where << ": " << event;
    last = begin;
    if (event.at("ph") != "X") continue;
    const std::int64_t end = begin + ns_of(event.at("dur"));
    while (!open.empty() && open.back().second <= begin) open.pop_back();
    if (!open.empty()) {
      ASSERT_LE(end, open.back().second) << where << ": " << event;
    }
    open.emplace_back(begin, end);
  }
}

/// Everything that holds for the trace of a run.
inline void expect_sound(const nlohmann::json& trace, int ranks, int threads) {
  const auto& about = trace.at("otherData");
  EXPECT_EQ(about.at("ranks"), ranks);
  ASSERT_EQ(about.at("per_rank").size(), static_cast<std::size_t>(ranks));
  std::int64_t events = 0;
  for (int r = 0; r < ranks; ++r) {
    const auto& rank = about.at("per_rank").at(static_cast<std::size_t>(r));
    EXPECT_EQ(rank.at("rank"), r);
    EXPECT_FALSE(rank.at("host").get<std::string>().empty());
    // The ranks of a test share a host, whose clock is one.
    EXPECT_LE(std::abs(ns_of(rank.at("clock_offset_us"))), ns_of(rank.at("clock_error_us")) + 1);
    EXPECT_LE(ns_of(rank.at("clock_error_us")), ns_of(about.at("clock_error_us")));
    events += rank.at("events").get<std::int64_t>();
  }
  EXPECT_EQ(about.at("events"), events);
  std::map<Lane, std::string> names;
  std::int64_t found = 0;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "M") ++found;
    if (event.at("name") != "thread_name") continue;
    names[{event.at("pid"), event.at("tid")}] = event.at("args").at("name");
  }
  EXPECT_EQ(found, events);
  ASSERT_EQ(names.size(), static_cast<std::size_t>(ranks * threads));
  for (const auto& [lane, name] : names) {
    EXPECT_EQ(name, lane.second == 0 ? "coordinator" : "worker " + std::to_string(lane.second));
  }
  for (const auto& [lane, list] : by_lane(trace)) {
    EXPECT_TRUE(names.contains(lane));
    expect_nested(list,
                  "rank " + std::to_string(lane.first) + ", thread " + std::to_string(lane.second));
  }
}
}  // namespace switchyard::tests
