// SPDX-License-Identifier: Apache-2.0
#include "launch/study/results.hpp"

#include <algorithm>
#include <map>

#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::study::Point;
using runtime::study::RankKind;
using runtime::study::Study;
using runtime::study::Times;

/// Seconds of a step in one result, whoever it is from.
double step_seconds(const nlohmann::ordered_json& result) {
  if (result.contains("simulated_step_s")) return result.at("simulated_step_s").get<double>();
  return result.at("seconds").get<double>() / result.at("steps").get<double>();
}

Times times_of(const PointState& state, RankKind kind) {
  Times times;
  for (const FinishedStart* start : state.good) {
    times.repetitions_s.push_back(step_seconds(start->result));
    if (kind != RankKind::kReal || !start->result.contains("step_s")) continue;
    for (const auto& step : start->result.at("step_s")) {
      times.steps_s.push_back(step.get<double>());
    }
  }
  return times;
}

/// Output is that of the first ranks and of every placement and transport: what changes it is work.
bool same_output(const Point& a, const Point& b) {
  return a.tokens == b.tokens && a.experts == b.experts && a.top_k == b.top_k &&
         a.routing == b.routing;
}

std::string digest_of(const PointState& state) {
  if (state.good.empty()) return "";
  return state.good.front()->result.value("output_digest", "");
}

void find_other_digests(StudyResults& results) {
  const auto& points = results.plan.points;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].kind != RankKind::kReal) continue;
    const std::string digest = digest_of(results.states[i]);
    for (const FinishedStart* start : results.states[i].good) {
      if (start->result.value("output_digest", "") != digest) {
        results.other_digests.emplace_back(i, i);
      }
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (points[j].kind != RankKind::kReal || !same_output(points[i], points[j])) continue;
      const std::string other = digest_of(results.states[j]);
      if (!digest.empty() && !other.empty() && digest != other) {
        results.other_digests.emplace_back(j, i);
      }
    }
  }
}
}  // namespace

std::string PointState::status() const {
  if (done()) return "done";
  if (failed.empty()) return good.empty() ? "missing" : "partial";
  return good.empty() ? "failed" : "partial";
}

int starts_of(const Study& study, const Point& point) {
  return point.kind == RankKind::kReal ? study.repetitions : 1;
}

StudyResults results_of(const Study& study, const runtime::study::StudyPlan& plan,
                        const std::vector<FinishedStart>& finished) {
  StudyResults results{.study = study,
                       .plan = plan,
                       .states = std::vector<PointState>(plan.points.size()),
                       .times = {},
                       .curves = {},
                       .comparisons = {},
                       .agreements = {},
                       .other_digests = {}};
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    index[key_of(plan.points[i], study)] = i;
    results.states[i].wanted = starts_of(study, plan.points[i]);
    results.starts_wanted += results.states[i].wanted;
  }
  // A start that was tried again has two lines, of which the later one counts.
  std::map<std::pair<std::size_t, int>, const FinishedStart*> last;
  for (const FinishedStart& start : finished) {
    const auto found = index.find(start.point);
    if (found == index.end()) continue;
    if (start.repetition < results.states[found->second].wanted) {
      last[{found->second, start.repetition}] = &start;
    }
  }
  for (const auto& [where, start] : last) {
    PointState& state = results.states[where.first];
    const bool good = start->status == runtime::kDone;
    (good ? state.good : state.failed).push_back(start);
    ++(good ? results.starts_done : results.starts_failed);
  }
  // Running it again cannot help where a start was refused: the other repetitions are not tried.
  for (PointState& state : results.states) {
    const bool refused = std::ranges::any_of(
        state.failed, [](const FinishedStart* start) { return start->status == runtime::kUsage; });
    if (!refused) continue;
    results.starts_wanted -= state.wanted;
    state.wanted = static_cast<int>(state.good.size() + state.failed.size());
    results.starts_wanted += state.wanted;
  }
  for (std::size_t i = 0; i < plan.points.size(); ++i) {
    results.times.push_back(times_of(results.states[i], plan.points[i].kind));
  }
  for (const auto& series : plan.series) {
    results.curves.push_back(curve_of(series, results.times, study.confidence, study.seed));
  }
  results.comparisons = compare(plan.points, results.times, study.confidence);
  results.agreements = agreements(results.comparisons, plan.points);
  find_other_digests(results);
  return results;
}
}  // namespace switchyard::launch
