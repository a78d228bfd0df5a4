// SPDX-License-Identifier: Apache-2.0
#include "runtime/trace/summary.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::int64_t kMostPairedExperts = 4096;  // 128 MiB of counts

/// How often two experts of one layer were chosen by the same token.
class PairCounts {
 public:
  explicit PairCounts(std::int64_t experts) : experts_(experts), counts_(at(experts * experts)) {}

  void add(const std::vector<std::int32_t>& chosen, std::int64_t top_k) {
    for (std::size_t begin = 0; begin < chosen.size(); begin += at(top_k)) {
      for (std::size_t i = begin; i < begin + at(top_k); ++i) {
        for (std::size_t j = i + 1; j < begin + at(top_k); ++j) {
          if (chosen[i] < 0 || chosen[j] < 0) continue;
          const auto [low, high] = std::minmax(chosen[i], chosen[j]);
          ++counts_[at(low * experts_ + high)];
        }
      }
    }
  }

  /// Those of this layer among the best so far. @param load  [experts]
  void into(std::vector<TracePair>& best, std::size_t most, std::int64_t layer,
            const std::vector<std::int64_t>& load, std::int64_t tokens) const {
    for (std::int64_t one = 0; one < experts_; ++one) {
      for (std::int64_t other = one + 1; other < experts_; ++other) {
        const std::int64_t together = counts_[at(one * experts_ + other)];
        if (together == 0 || (best.size() == most && together <= best.back().tokens)) continue;
        const double chance = static_cast<double>(load[at(one)]) *
                              static_cast<double>(load[at(other)]) / static_cast<double>(tokens);
        const TracePair pair{.layer = layer,
                             .one = one,
                             .other = other,
                             .tokens = together,
                             .lift = static_cast<double>(together) / chance};
        best.insert(
            std::ranges::upper_bound(best, pair.tokens, std::greater<>(), &TracePair::tokens),
            pair);
        if (best.size() > most) best.pop_back();
      }
    }
  }

 private:
  std::int64_t experts_;
  std::vector<std::int64_t> counts_;  ///< [experts, experts], the lower id first
};

double distance(const std::vector<std::int64_t>& one, const std::vector<std::int64_t>& other) {
  const auto sum = [](const std::vector<std::int64_t>& load) {
    return static_cast<double>(
        std::max<std::int64_t>(std::accumulate(load.begin(), load.end(), std::int64_t{0}), 1));
  };
  const double all_one = sum(one);
  const double all_other = sum(other);
  double apart = 0;
  for (std::size_t e = 0; e < one.size(); ++e) {
    apart +=
        std::abs(static_cast<double>(one[e]) / all_one - static_cast<double>(other[e]) / all_other);
  }
  return apart / 2;
}

TraceLayerSummary summary_of(const std::vector<std::int64_t>& load, std::int64_t tokens,
                             std::int64_t top_k) {
  TraceLayerSummary layer{.tokens = tokens};
  layer.slots = std::accumulate(load.begin(), load.end(), std::int64_t{0});
  layer.empty = tokens * top_k - layer.slots;
  const auto most = std::ranges::max_element(load);
  layer.most = *most;
  layer.busiest = most - load.begin();
  layer.unused = std::ranges::count(load, 0);
  if (layer.slots > 0) {
    layer.imbalance = static_cast<double>(layer.most) * static_cast<double>(load.size()) /
                      static_cast<double>(layer.slots);
  }
  return layer;
}

/// What each letter of the map means: at least so many times the mean expert.
struct Shade {
  double from = 0;
  char letter = ' ';
};
constexpr Shade kShades[] = {{5, '@'},   {3, '#'},   {2, '*'},    {1.25, '+'},
                             {0.8, '='}, {0.5, '-'}, {0.25, ':'}, {0, '.'}};

char letter_of(double load, double mean) {
  if (load == 0) return ' ';
  for (const Shade& shade : kShades) {
    if (load >= shade.from * mean) return shade.letter;
  }
  return '.';
}
}  // namespace

RoutingSummary summarise(TraceReader& trace, std::int64_t window, std::int64_t pairs) {
  const TraceInfo& info = trace.info();
  RoutingSummary summary;
  const std::int64_t steps = trace.steps();
  summary.window = window > 0 ? window : std::max<std::int64_t>(steps / 4, 1);
  const std::int64_t windows = (steps + summary.window - 1) / summary.window;
  summary.drifts.resize(at(std::max<std::int64_t>(windows - 1, 0)));
  summary.pairs_known = info.detail != TraceDetail::kCounts && info.experts <= kMostPairedExperts;
  for (std::int64_t layer = 0; layer < info.layers; ++layer) {
    std::vector<std::vector<std::int64_t>> of_window(at(windows),
                                                     std::vector<std::int64_t>(at(info.experts)));
    std::vector<std::int64_t> load(at(info.experts));
    PairCounts together(summary.pairs_known ? info.experts : 0);
    std::int64_t tokens = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      const TraceLayer now = trace.layer(step, layer);
      tokens += now.tokens;
      auto& here = of_window[at(step / summary.window)];
      for (std::size_t e = 0; e < load.size(); ++e) {
        here[e] += now.counts[e];
        load[e] += now.counts[e];
      }
      if (summary.pairs_known) together.add(now.chosen, info.top_k);
    }
    for (std::int64_t w = 1; w < windows; ++w) {
      TraceDrift& drift = summary.drifts[at(w - 1)];
      const double apart = distance(of_window[at(w - 1)], of_window[at(w)]);
      drift.first_step = trace.number(w * summary.window);
      drift.mean += apart / static_cast<double>(info.layers);
      if (apart > drift.most) {
        drift.most = apart;
        drift.layer = layer;
      }
    }
    if (summary.pairs_known && pairs > 0) {
      together.into(summary.pairs, at(pairs), layer, load, tokens);
    }
    summary.layers.push_back(summary_of(load, tokens, info.top_k));
    summary.load.push_back(std::move(load));
  }
  return summary;
}

std::string heat_map(const TraceLoad& load, const std::vector<std::int64_t>& numbers,
                     std::int64_t columns) {
  const auto experts = static_cast<std::int64_t>(load.front().size());
  const std::int64_t each = (experts + columns - 1) / columns;  // experts of a letter
  std::string text = "layer  experts 0 to " + std::to_string(experts - 1) +
                     (each > 1 ? ", " + std::to_string(each) + " a letter" : "") + '\n';
  for (std::size_t layer = 0; layer < load.size(); ++layer) {
    const auto& row = load[layer];
    const double mean = static_cast<double>(std::accumulate(row.begin(), row.end(), 0.0)) /
                        static_cast<double>(experts);
    char name[32];
    std::snprintf(name, sizeof name, "%5lld  ",
                  static_cast<long long>(numbers.empty() ? static_cast<std::int64_t>(layer)
                                                         : numbers[layer]));
    text += name;
    for (std::int64_t first = 0; first < experts; first += each) {
      const std::int64_t count = std::min(each, experts - first);
      double sum = 0;
      for (std::int64_t e = first; e < first + count; ++e) sum += static_cast<double>(row[at(e)]);
      text += letter_of(sum / static_cast<double>(count), mean);
    }
    text += "|\n";
  }
  return text +
         "       times the mean: . 0 to 1/4, : to 1/2, - to 0.8, = to 1.25, + to 2, * to 3, "
         "# to 5, @ more; blank: never\n";
}
}  // namespace switchyard::runtime
