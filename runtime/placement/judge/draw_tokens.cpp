// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <stdexcept>

#include "experts/index.hpp"
#include "runtime/placement/judge/token_steps.hpp"

namespace switchyard::runtime {
namespace {
/// SplitMix64 (Steele, Lea, Flood 2014): numbers that anyone can make again.
class Draws {
 public:
  explicit Draws(std::uint64_t state) : state_(state) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t word = state_;
    word = (word ^ (word >> 30U)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27U)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31U);
  }
  /// In [0, 1).
  double unit() { return static_cast<double>(next() >> 11U) * 0x1p-53; }
  void shuffle(std::vector<std::int32_t>& items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[next() % i]);
  }

 private:
  std::uint64_t state_;
};

/// How often a token chooses each expert, at most once.
std::vector<double> chances_of(const std::vector<double>& loads, std::int64_t top_k,
                               const std::string& where) {
  constexpr double kRounding = 1e-3;  // of tables with few digits
  const double sum = std::accumulate(loads.begin(), loads.end(), 0.0);
  if (!(sum > 0)) return {};
  std::vector<double> chances(loads.size());
  for (std::size_t e = 0; e < loads.size(); ++e) {
    chances[e] = loads[e] / sum * static_cast<double>(top_k);
    if (chances[e] > 1 + kRounding) {
      std::string times(32, '\0');
      times.resize(at(std::snprintf(times.data(), times.size(), "%.4g", chances[e])));
      throw std::invalid_argument(where + ": a token chooses expert " + std::to_string(e) + " " +
                                  times + " times, want at most once (another --top-k)");
    }
  }
  return chances;
}
}  // namespace

experts::Routing draw_tokens(const std::vector<double>& loads, std::int64_t top_k,
                             std::int64_t tokens, std::uint64_t seed, std::uint64_t number,
                             const std::string& where) {
  constexpr std::int64_t kTokensAnOrder = 16;  // which costs more than a token
  experts::Routing routing;
  const std::vector<double> chances = chances_of(loads, top_k, where);
  if (chances.empty()) return routing;
  Draws draws(Draws(seed).next() ^ number);
  std::vector<std::int32_t> order(loads.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> ends(loads.size());
  for (std::int64_t t = 0; t < tokens; ++t) {
    if (t % kTokensAnOrder == 0) {
      draws.shuffle(order);
      double end = 0;
      for (std::size_t i = 0; i < order.size(); ++i) ends[i] = end += chances[at(order[i])];
    }
    const double first = draws.unit();
    std::int32_t before = experts::kDropped;
    for (std::int64_t k = 0; k < top_k; ++k) {
      const auto found = std::upper_bound(ends.begin(), ends.end(), first + static_cast<double>(k));
      // The last point may fall behind the end by a rounding.
      const std::size_t place = std::min(at(found - ends.begin()), ends.size() - 1);
      const std::int32_t expert = order[place];
      routing.experts.push_back(expert == before ? experts::kDropped : expert);
      before = expert;
    }
    routing.offsets.push_back(static_cast<std::int64_t>(routing.experts.size()));
  }
  return routing;
}
}  // namespace switchyard::runtime
