// SPDX-License-Identifier: Apache-2.0
#include "runtime/study/load.hpp"

#include <algorithm>
#include <memory>
#include <numeric>

#include "experts/index.hpp"
#include "experts/synthetic.hpp"
#include "runtime/placement/policies/hosted.hpp"
#include "runtime/trace/replay.hpp"

namespace switchyard::runtime::study {
namespace {
/// Who goes where, a step and layer at a time: drawn, or read from a trace.
class Choices {
 public:
  Choices(const RunSettings& run, const experts::RouterSpec& spec) : run_(run), spec_(spec) {
    const std::string file = routing_trace(run.routing);
    if (!file.empty()) trace_ = std::make_unique<TraceReplay>(file);
  }
  [[nodiscard]] bool known() const { return trace_ || run_.routing != "model"; }
  [[nodiscard]] std::int64_t slots() const {
    const std::int64_t tokens = trace_ ? trace_->most_tokens() : run_.tokens;
    return tokens * spec_.top_k * run_.layers * run_.steps;
  }
  [[nodiscard]] experts::Routing of(std::int64_t step, std::int64_t layer) {
    if (trace_) return trace_->routing(step, layer, 0, trace_->tokens(step), false);
    return experts::synthetic_routing(spec_, routing_exponent(run_.routing), run_.seed, step,
                                      static_cast<std::uint32_t>(layer), 0, run_.tokens);
  }

 private:
  const RunSettings& run_;
  const experts::RouterSpec& spec_;
  std::unique_ptr<TraceReplay> trace_;
};

using Rows = std::vector<std::int64_t>;

/// One layer's placement of a point.
Placement placement_for(const Point& point, std::int64_t experts, std::int64_t number) {
  const bool layered = Placement::layered(point.placement);
  return Placement::from_name(point.placement, experts, point.ranks,
                              layered ? number : kEveryLayer);
}

void count(const experts::Routing& routing, const Placement& placement, Rows& experts,
           Rows& ranks) {
  for_each_token(routing, placement, [&](int, auto chosen, auto hosts) {
    for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
      if (hosts[slot] == kNowhere) continue;
      ++experts[at(chosen[slot])];
      ++ranks[at(hosts[slot])];
    }
  });
}
}  // namespace

std::optional<PointLoad> load_of(const Study& study, const Point& point) {
  const RunSettings run = run_settings_of(study, point);
  const Model model = model_of(run);
  const auto numbers = model.moe_layers();
  const experts::BlockSpec block = block_of(run, model);
  Choices choices(run, block.router);
  if (!choices.known() || choices.slots() > kMostLoadSlots) return std::nullopt;
  const auto layers = static_cast<std::size_t>(run.layers);
  const auto ranks = static_cast<std::size_t>(point.ranks);
  PointLoad load{.experts = std::vector(layers, Rows(at(block.router.experts))),
                 .ranks = std::vector(layers, Rows(ranks)),
                 .balancedness = {}};
  for (std::int64_t step = 0; step < run.steps; ++step) {
    Rows of_step(ranks);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      Rows rows(ranks);
      count(choices.of(step, static_cast<std::int64_t>(layer)),
            placement_for(point, block.router.experts, numbers[layer]), load.experts[layer], rows);
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        load.ranks[layer][rank] += rows[rank];
        of_step[rank] += rows[rank];
      }
    }
    const auto most = static_cast<double>(std::ranges::max(of_step));
    const auto sum = static_cast<double>(std::accumulate(of_step.begin(), of_step.end(), 0LL));
    load.balancedness.push_back(most > 0 ? sum / static_cast<double>(ranks) / most : 1);
  }
  return load;
}
}  // namespace switchyard::runtime::study
