// SPDX-License-Identifier: Apache-2.0
#include "comm/base/words.hpp"

#include <algorithm>

namespace switchyard::comm {

std::string rank_names(std::vector<int> ranks) {
  constexpr std::size_t kNamed = 4;
  std::ranges::sort(ranks);
  ranks.erase(std::unique(ranks.begin(), ranks.end()),
              ranks.end());  // clang 14 has no ranges of it
  if (ranks.empty()) return "no rank";
  if (ranks.size() == 1) return "rank " + std::to_string(ranks[0]);
  const bool all = ranks.size() <= kNamed;
  const std::size_t listed = all ? ranks.size() - 1 : kNamed;
  std::string words = "ranks ";
  for (std::size_t i = 0; i < listed; ++i) {
    words += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  }
  if (all) return words + " and " + std::to_string(ranks.back());
  return words + " and " + counted(static_cast<std::int64_t>(ranks.size() - listed), "other");
}

std::string counted(std::int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}
}  // namespace switchyard::comm
