// SPDX-License-Identifier: Apache-2.0
#include "runtime/generate/routing_load.hpp"

#include <algorithm>
#include <numeric>
#include <span>

#include "comm/group/collective.hpp"

namespace switchyard::runtime {

void RoutingLoad::saw(std::int64_t /*layer*/, std::string_view /*what*/,
                      experts::MatrixView<const float> /*rows*/) {}

void RoutingLoad::routed(std::int64_t layer, const experts::Routing& routing) {
  auto& counts = counts_[layer];
  const auto width = static_cast<std::size_t>(routing.logits.cols() + 1);
  if (counts.size() < width) counts.resize(width);
  for (const std::int32_t expert : routing.experts) {
    const auto place = static_cast<std::size_t>(expert + 1);  // kDropped is -1
    if (place >= counts.size()) counts.resize(place + 1);
    ++counts[place];
  }
}

std::vector<LayerLoad> RoutingLoad::sum(comm::Group& group) const {
  std::vector<std::int64_t> mine;  // layer, how many counts, counts
  for (const auto& [layer, counts] : counts_) {
    mine.insert(mine.end(), {layer, static_cast<std::int64_t>(counts.size())});
    mine.insert(mine.end(), counts.begin(), counts.end());
  }
  std::map<std::int64_t, std::vector<std::int64_t>> all;
  for (const auto& of_rank :
       comm::allgather_values<std::int64_t>(group, std::span(std::as_const(mine)))) {
    for (std::size_t at = 0; at < of_rank.size();) {
      auto& counts = all[of_rank[at]];
      const auto width = static_cast<std::size_t>(of_rank[at + 1]);
      if (counts.size() < width) counts.resize(width);
      for (std::size_t i = 0; i < width; ++i) counts[i] += of_rank[at + 2 + i];
      at += 2 + width;
    }
  }
  std::vector<LayerLoad> layers;
  for (const auto& [layer, counts] : all) {
    LayerLoad load{.layer = layer, .dropped = counts[0]};
    load.load.assign(counts.begin() + 1, counts.end());
    const std::int64_t computed =
        std::accumulate(load.load.begin(), load.load.end(), std::int64_t{0});
    load.slots = computed + load.dropped;
    const auto most = std::ranges::max_element(load.load);
    load.most = most == load.load.end() ? 0 : *most;
    load.busiest = most - load.load.begin();
    load.unused = std::ranges::count(load.load, 0);
    if (load.most > 0) {
      load.balancedness = static_cast<double>(computed) / static_cast<double>(load.load.size()) /
                          static_cast<double>(load.most);
    }
    layers.push_back(std::move(load));
  }
  return layers;
}
}  // namespace switchyard::runtime
