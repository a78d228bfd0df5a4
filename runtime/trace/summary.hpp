// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a routing trace looks like: how even its loads are, how they drift, which experts go
/// together.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/trace/reader.hpp"

namespace switchyard::runtime {

/// A layer over all steps.
struct TraceLayerSummary {
  std::int64_t tokens = 0;
  std::int64_t slots = 0;    ///< with an expert
  std::int64_t empty = 0;    ///< slots of tokens without one
  std::int64_t most = 0;     ///< slots of the busiest expert
  std::int64_t busiest = 0;  ///< which that is; the lowest of equals
  std::int64_t unused = 0;   ///< experts without a slot
  double imbalance = 1;      ///< most over the mean expert
};

/// From a window of steps to the next: what share of the load went to other experts, which is half
/// the sum of |p - q| over experts. 0: none of it, 1: all.
struct TraceDrift {
  std::int64_t first_step = 0;  ///< number of the later window's first one
  double mean = 0;              ///< over layers
  double most = 0;
  std::int64_t layer = 0;  ///< index of the layer of the most
};

/// Two experts that tokens choose together.
struct TracePair {
  std::int64_t layer = 0;  ///< index
  std::int64_t one = 0;
  std::int64_t other = 0;
  std::int64_t tokens = 0;  ///< that chose both
  double lift = 0;          ///< times as many as if they had nothing to do with each other
};

struct RoutingSummary {
  std::vector<TraceLayerSummary> layers;
  TraceLoad load;                  ///< [layers][experts]
  std::int64_t window = 0;         ///< steps; 0: there is only one window
  std::vector<TraceDrift> drifts;  ///< windows, but for the first
  std::vector<TracePair> pairs;    ///< most tokens first; none of counts, or of too many experts
  bool pairs_known = false;
};

/// Reads the trace once, a layer at a time.
/// @param window  steps; 0: a quarter of the trace, at least one
/// @param pairs   how many to find, over all layers
[[nodiscard]] RoutingSummary summarise(TraceReader& trace, std::int64_t window, std::int64_t pairs);

/// A line a layer, a letter an expert or a few neighbours, darker the more of the load they have.
/// @param columns  letters of a line at most, at least 1
[[nodiscard]] std::string heat_map(const TraceLoad& load, const std::vector<std::int64_t>& numbers,
                                   std::int64_t columns);
}  // namespace switchyard::runtime
