// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/nearest.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace switchyard::runtime {
namespace {
/// Levenshtein distance.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> cost(b.size() + 1);
  std::iota(cost.begin(), cost.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = cost[0];
    cost[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0U : 1U);
      diagonal = cost[j + 1];
      cost[j + 1] = std::min({replaced, cost[j] + 1, diagonal + 1});
    }
  }
  return cost.back();
}
}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_edits = 0;
  for (const std::string& candidate : candidates) {
    const std::size_t count = edits(word, candidate);
    if (2 * count > std::max(word.size(), candidate.size())) continue;
    if (best.empty() || count < best_edits) {
      best = candidate;
      best_edits = count;
    }
  }
  return best;
}

std::string one_of(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}
}  // namespace switchyard::runtime
