// SPDX-License-Identifier: Apache-2.0
#include "runtime/study/points.hpp"

#include <algorithm>
#include <cstdlib>

namespace switchyard::runtime::study {
namespace {
/// Experts and top-k of the study's own model.
struct OwnShape {
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
};

OwnShape own_shape(const Study& study) {
  Model model = Model::from_name_or_file(study.model);
  for (const std::string& assignment : study.set) model.set(assignment);
  const experts::RouterSpec router = model.block().router;
  return {router.experts, router.top_k};
}

std::int64_t tokens_of(const Study& study, Over over, int ranks, const std::string& routing) {
  if (!routing_trace(routing).empty()) return -1;
  return over == Over::kStrong ? study.tokens : study.tokens_per_rank * ranks;
}

Point point_of(const Study& study, const OwnShape& own, const Series& series, int ranks,
               const std::string& value) {
  Point point{.kind = series.kind,
              .machine = series.machine,
              .ranks = ranks,
              .experts = own.experts,
              .top_k = own.top_k,
              .routing = study.routing,
              .placement = study.placement};
  if (series.over == Over::kExperts) point.experts = std::atoll(value.c_str());
  if (series.over == Over::kTopK) point.top_k = std::atoll(value.c_str());
  if (series.over == Over::kSkew) point.routing = value;
  if (series.over == Over::kPlacement) point.placement = value;
  point.tokens = tokens_of(study, series.over, ranks, point.routing);
  return point;
}

std::size_t place_in(std::vector<Point>& points, Point point) {
  const auto found = std::ranges::find(points, point);
  if (found != points.end()) return static_cast<std::size_t>(found - points.begin());
  points.push_back(std::move(point));
  return points.size() - 1;
}

/// Counts of a sweep for ranks of one kind on one machine. What it has no room for is left to the
/// machines that have; where none has, it stays, and is refused.
std::vector<int> counts_for(const Study& study, const Sweep& sweep, RankKind kind, int machine,
                            StudyPlan& plan) {
  std::vector<int> counts = sweep.ranks[static_cast<std::size_t>(kind)];
  if (machine < 0) return counts;
  const std::int64_t room = study.rooms[static_cast<std::size_t>(machine)];
  std::erase_if(counts, [&](int count) {
    if (count <= room || count > std::ranges::max(study.rooms)) return false;
    plan.left_out.push_back(std::string(name_of(sweep.over)) + ": " + std::to_string(count) + " " +
                            std::string(name_of(kind)) + " ranks on " +
                            study.machines[static_cast<std::size_t>(machine)] +
                            ", which has room for " + std::to_string(room));
    return true;
  });
  return counts;
}

/// A curve of a sweep on one machine, and where ranks are not what is varied, on one number of
/// them.
void add_curve(const Study& study, const OwnShape& own, Series series,
               const std::vector<std::string>& values, StudyPlan& plan) {
  for (const std::string& value : values) {
    const int ranks = series.ranks == 0 ? std::atoi(value.c_str()) : series.ranks;
    series.rows.push_back(
        {.x = value,
         .number = std::atof(value.c_str()),
         .point = place_in(plan.points, point_of(study, own, series, ranks, value))});
  }
  if (!series.rows.empty()) plan.series.push_back(std::move(series));
}
}  // namespace

bool Point::same_work(const Point& other) const {
  return ranks == other.ranks && tokens == other.tokens && experts == other.experts &&
         top_k == other.top_k && routing == other.routing && placement == other.placement;
}

std::string key_of(const Point& point, const Study& study) {
  std::string key = std::string(name_of(point.kind)) + " ranks=" + std::to_string(point.ranks) +
                    " tokens=" + std::to_string(point.tokens) +
                    " experts=" + std::to_string(point.experts) +
                    " top_k=" + std::to_string(point.top_k) + " routing=" + point.routing +
                    " placement=" + point.placement;
  if (point.machine >= 0) {
    key += " machine=" + study.machines[static_cast<std::size_t>(point.machine)];
  }
  return key;
}

StudyPlan plan_of(const Study& study) {
  const OwnShape own = own_shape(study);
  StudyPlan plan;
  for (const RankKind kind : kAllKinds) {
    for (const Sweep& sweep : study.sweeps) {
      const bool real = kind == RankKind::kReal;
      const int machines = real ? 1 : static_cast<int>(study.machines.size());
      for (int number = 0; number < machines; ++number) {
        const int machine = real ? -1 : number;
        const auto counts = counts_for(study, sweep, kind, machine, plan);
        Series series{.over = sweep.over, .kind = kind, .machine = machine, .rows = {}};
        std::vector<std::string> texts;
        for (const int count : counts) texts.push_back(std::to_string(count));
        if (over_ranks(sweep.over)) add_curve(study, own, series, texts, plan);
        for (const int count : over_ranks(sweep.over) ? std::vector<int>{} : counts) {
          series.ranks = count;
          add_curve(study, own, series, sweep.values, plan);
        }
      }
    }
  }
  // By sweep, then by kind, as a reader looks for them.
  std::vector<Series> ordered;
  for (const Sweep& sweep : study.sweeps) {
    for (const Series& series : plan.series) {
      if (series.over == sweep.over) ordered.push_back(series);
    }
  }
  plan.series = std::move(ordered);
  return plan;
}

std::vector<std::string> set_of(const Study& study, const Point& point) {
  const OwnShape own = own_shape(study);
  std::vector<std::string> set = study.set;
  if (point.experts != own.experts) {
    set.push_back("routed_experts=" + std::to_string(point.experts));
  }
  if (point.top_k != own.top_k) set.push_back("top_k=" + std::to_string(point.top_k));
  return set;
}

RunSettings run_settings_of(const Study& study, const Point& point) {
  RunSettings run;
  run.model = study.model;
  run.set = set_of(study, point);
  run.layers = study.layers;
  run.tokens = point.tokens;
  run.steps = study.steps;
  run.warmup = study.warmup;
  run.seed = study.seed;
  run.weights = study.weights;
  run.routing = point.routing;
  run.placement = point.placement;
  run.layer.transport = study.transport;
  return run;
}
}  // namespace switchyard::runtime::study
