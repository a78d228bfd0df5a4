// SPDX-License-Identifier: Apache-2.0
#include "runtime/placement/placement.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace switchyard::runtime {
namespace {
[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("placement: " + what);
}
}  // namespace

Placement::Placement(std::vector<std::vector<std::int32_t>> experts_of, std::int64_t experts,
                     Hosts hosts)
    : experts_of_(std::move(experts_of)), hosts_of_(static_cast<std::size_t>(experts)) {
  for (std::size_t rank = 0; rank < experts_of_.size(); ++rank) {
    auto& mine = experts_of_[rank];
    std::sort(mine.begin(), mine.end());
    for (std::size_t i = 0; i < mine.size(); ++i) {
      if (mine[i] < 0 || mine[i] >= experts) {
        refuse("expert " + std::to_string(mine[i]) + " on rank " + std::to_string(rank) +
               ", want 0 to " + std::to_string(experts - 1));
      }
      if (i > 0 && mine[i] == mine[i - 1]) {
        refuse("expert " + std::to_string(mine[i]) + " is twice on rank " + std::to_string(rank) +
               ", want at most one copy a rank");
      }
      hosts_of_[static_cast<std::size_t>(mine[i])].push_back(static_cast<std::int32_t>(rank));
    }
  }
  for (std::size_t expert = 0; expert < hosts_of_.size(); ++expert) {
    if (!hosts_of_[expert].empty()) continue;
    lost_.push_back(static_cast<std::int32_t>(expert));
    if (hosts == Hosts::kAtLeastOne) {
      refuse("expert " + std::to_string(expert) + " has no host, want at least one rank");
    }
  }
}

Placement Placement::from_lists(std::vector<std::vector<std::int32_t>> experts_of,
                                std::int64_t experts, Hosts hosts) {
  if (experts_of.empty()) refuse("got 0 ranks, want at least 1");
  return {std::move(experts_of), experts, hosts};
}

Placement Placement::linear(std::int64_t experts, int ranks) {
  std::vector<std::vector<std::int32_t>> lists(static_cast<std::size_t>(ranks));
  std::int64_t next = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t count = experts / ranks + (rank < experts % ranks ? 1 : 0);
    for (std::int64_t i = 0; i < count; ++i) {
      lists[static_cast<std::size_t>(rank)].push_back(static_cast<std::int32_t>(next++));
    }
  }
  return {std::move(lists), experts};
}

Placement Placement::round_robin(std::int64_t experts, int ranks) {
  std::vector<std::vector<std::int32_t>> lists(static_cast<std::size_t>(ranks));
  for (std::int64_t expert = 0; expert < experts; ++expert) {
    lists[static_cast<std::size_t>(expert % ranks)].push_back(static_cast<std::int32_t>(expert));
  }
  return {std::move(lists), experts};
}

Placement Placement::from_name(const std::string& name, std::int64_t experts, int ranks,
                               std::int64_t layer) {
  if (name == "linear") return linear(experts, ranks);
  if (name == "round-robin") return round_robin(experts, ranks);
  if (std::filesystem::exists(name)) return from_file(name, experts, ranks, layer);
  refuse("got '" + name + "', want linear, round-robin or a file that exists");
}

int Placement::idle_ranks() const {
  return static_cast<int>(std::count_if(experts_of_.begin(), experts_of_.end(),
                                        [](auto& mine) { return mine.empty(); }));
}
}  // namespace switchyard::runtime
