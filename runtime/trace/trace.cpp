// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/trace.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace switchyard::runtime {
namespace {
std::string number(std::int64_t value) {
  return std::to_string(value);
}

std::optional<std::string> wrong_counts(const TraceInfo& info, const TraceLayer& layer) {
  for (std::size_t expert = 0; expert < layer.counts.size(); ++expert) {
    const std::int64_t count = layer.counts[expert];
    if (count >= 0 && count <= layer.tokens) continue;
    return "expert " + std::to_string(expert) + " was chosen " + number(count) + " times by " +
           number(layer.tokens) + " tokens, want each at most once a token";
  }
  const auto chosen = std::accumulate(layer.counts.begin(), layer.counts.end(), std::int64_t{0});
  if (chosen <= layer.tokens * info.top_k) return std::nullopt;
  return number(chosen) + " slots of " + number(layer.tokens) + " tokens, want at most " +
         number(info.top_k) + " a token";
}

std::optional<std::string> wrong_rows(const TraceInfo& info, const TraceLayer& layer) {
  const auto k = static_cast<std::size_t>(info.top_k);
  std::vector<std::int32_t> row;
  for (std::size_t begin = 0; begin < layer.chosen.size(); begin += k) {
    row.assign(layer.chosen.begin() + static_cast<std::ptrdiff_t>(begin),
               layer.chosen.begin() + static_cast<std::ptrdiff_t>(begin + k));
    std::sort(row.begin(), row.end());
    const std::string token = "token " + std::to_string(begin / k) + " chose expert ";
    for (std::size_t slot = 0; slot < k; ++slot) {
      if (row[slot] < kNoExpert || row[slot] >= info.experts) {
        return token + std::to_string(row[slot]) + ", want 0 to " + number(info.experts - 1) +
               ", or -1 for none";
      }
      if (slot > 0 && row[slot] >= 0 && row[slot] == row[slot - 1]) {
        return token + std::to_string(row[slot]) + " twice, want each at most once";
      }
    }
  }
  return std::nullopt;
}
}  // namespace

std::string_view name_of(TraceDetail detail) {
  switch (detail) {
    case TraceDetail::kCounts:
      return "counts";
    case TraceDetail::kExperts:
      return "experts";
    case TraceDetail::kWeights:
      break;
  }
  return "weights";
}

std::optional<std::string> wrong_with(const TraceInfo& info) {
  if (info.layers < 1 || info.layers > kMostTraceLayers) {
    return number(info.layers) + " layers, want 1 to " + number(kMostTraceLayers);
  }
  if (info.experts < 1 || info.experts > kMostTraceExperts) {
    return number(info.experts) + " experts, want 1 to " + number(kMostTraceExperts);
  }
  if (info.top_k < 1 || info.top_k > info.experts) {
    return number(info.top_k) + " slots a token, want 1 to the " + number(info.experts) +
           " experts";
  }
  if (!info.layer_numbers.empty() &&
      static_cast<std::int64_t>(info.layer_numbers.size()) != info.layers) {
    return std::to_string(info.layer_numbers.size()) + " layer numbers, want none or " +
           number(info.layers);
  }
  return std::nullopt;
}

std::optional<std::string> wrong_with(const TraceInfo& info, const TraceLayer& layer) {
  const auto shape = [](std::string_view what, std::size_t got, std::int64_t want) {
    return std::to_string(got) + " " + std::string(what) + ", want " + number(want);
  };
  if (layer.tokens < 0) return number(layer.tokens) + " tokens, want 0 or more";
  if (static_cast<std::int64_t>(layer.counts.size()) != info.experts) {
    return shape("counts", layer.counts.size(), info.experts);
  }
  if (auto wrong = wrong_counts(info, layer)) return wrong;
  const std::int64_t slots = layer.tokens * info.top_k;
  const std::int64_t chosen = info.detail == TraceDetail::kCounts ? 0 : slots;
  if (static_cast<std::int64_t>(layer.chosen.size()) != chosen) {
    return shape("chosen experts", layer.chosen.size(), chosen);
  }
  const std::int64_t weights = info.detail == TraceDetail::kWeights ? slots : 0;
  if (static_cast<std::int64_t>(layer.weights.size()) != weights) {
    return shape("weights", layer.weights.size(), weights);
  }
  if (auto wrong = wrong_rows(info, layer)) return wrong;
  if (chosen > 0 && counts_of(layer.chosen, info.experts) != layer.counts) {
    return "counts that differ from the chosen experts, want the same";
  }
  return std::nullopt;
}

std::vector<std::int64_t> counts_of(const std::vector<std::int32_t>& chosen, std::int64_t experts) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(experts));
  for (const std::int32_t expert : chosen) {
    if (expert >= 0) ++counts[static_cast<std::size_t>(expert)];
  }
  return counts;
}

TraceLoad load_of(const RoutingTrace& trace, std::int64_t first, std::int64_t steps) {
  const auto all = static_cast<std::int64_t>(trace.steps.size());
  if (first < 0 || steps < 0 || first > all || steps > all - first) {
    throw std::invalid_argument("trace: steps " + number(first) + " to " +
                                number(first + steps - 1) + ", want within the " + number(all) +
                                " steps");
  }
  TraceLoad load(static_cast<std::size_t>(trace.info.layers),
                 std::vector<std::int64_t>(static_cast<std::size_t>(trace.info.experts)));
  for (std::int64_t i = first; i < first + steps; ++i) {
    add_load(load, trace.steps[static_cast<std::size_t>(i)]);
  }
  return load;
}

void add_load(TraceLoad& load, const TraceStep& step) {
  for (std::size_t layer = 0; layer < load.size(); ++layer) {
    const auto& counts = step.layers[layer].counts;
    for (std::size_t expert = 0; expert < counts.size(); ++expert) {
      load[layer][expert] += counts[expert];
    }
  }
}
}  // namespace switchyard::runtime
