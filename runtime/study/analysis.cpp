// SPDX-License-Identifier: Apache-2.0
#include "runtime/study/analysis.hpp"

#include <algorithm>
#include <cmath>

namespace switchyard::runtime::study {
namespace {
std::vector<LawForm> forms_of(Over over) {
  switch (over) {
    case Over::kStrong:
      return strong_laws();
    case Over::kWeak:
      return weak_laws();
    case Over::kExperts:
      return line_laws("E");
    case Over::kTopK:
      return line_laws("k");
    case Over::kSkew:
    case Over::kPlacement:
      break;
  }
  return {};
}

Estimate scaled(Estimate estimate, double factor) {
  estimate.median *= factor;
  estimate.low *= factor;
  estimate.high *= factor;
  return estimate;
}

/// By how much `told` lies outside of [low, high], over the end that it passes; 0 inside.
double beyond(double told, const Estimate& real) {
  if (told < real.low) return told / real.low - 1;
  return told > real.high ? told / real.high - 1 : 0;
}

void fit(Curve& curve) {
  const auto forms = forms_of(curve.series.over);
  if (forms.empty()) {
    curve.no_law = "no number is varied";
    return;
  }
  std::vector<FitPoint> points;
  for (const CurveRow& row : curve.rows) points.push_back({row.row.number, row.step_s.median});
  curve.laws = fit_laws(forms, points);
  if (!curve.laws.empty()) return;
  curve.no_law = std::to_string(points.size()) + (points.size() == 1 ? " point" : " points") +
                 ", want " + std::to_string(forms.front().terms.size() + 1) + " for " +
                 forms.front().formula;
}
}  // namespace

double Times::p99_s() const {
  return quantile(steps_s.empty() ? repetitions_s : steps_s, 0.99);
}

std::size_t Times::p99_of() const {
  return steps_s.empty() ? repetitions_s.size() : steps_s.size();
}

Curve curve_of(const Series& series, const std::vector<Times>& times, double confidence,
               std::uint64_t seed) {
  Curve curve{.series = series, .rows = {}, .laws = {}, .no_law = {}};
  const Times* first = nullptr;
  double first_ranks = 0;
  for (const Series::Row& row : series.rows) {
    const Times& own = times[row.point];
    if (!own.known()) continue;
    if (first == nullptr) {
      first = &own;
      first_ranks = row.number;
    }
    CurveRow result{.row = row,
                    .step_s = median_interval(own.repetitions_s, confidence),
                    .speedup = {},
                    .efficiency = {}};
    // A curve against itself has no error: both are the same measurement.
    result.speedup = first == &own ? Estimate{.median = 1, .low = 1, .high = 1}
                                   : ratio_interval(first->repetitions_s, own.repetitions_s,
                                                    confidence, seed + row.point);
    if (series.over == Over::kStrong) {
      result.efficiency = scaled(result.speedup, first_ranks / row.number);
    } else if (series.over == Over::kWeak) {
      result.efficiency = result.speedup;
    }
    curve.rows.push_back(std::move(result));
  }
  fit(curve);
  return curve;
}

std::vector<Comparison> compare(const std::vector<Point>& points, const std::vector<Times>& times,
                                double confidence) {
  std::vector<Comparison> all;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].kind != RankKind::kReal || !times[i].known()) continue;
    const Estimate real = median_interval(times[i].repetitions_s, confidence);
    for (std::size_t j = 0; j < points.size(); ++j) {
      if (points[j].machine != kThisMachine || !times[j].known()) continue;
      if (!points[i].same_work(points[j])) continue;
      const double told = median_of(times[j].repetitions_s);
      all.push_back({.real = i,
                     .simulated = j,
                     .real_s = real.median,
                     .simulated_s = told,
                     .error = told / real.median - 1,
                     .beyond_spread = beyond(told, real)});
    }
  }
  return all;
}

std::vector<Agreement> agreements(const std::vector<Comparison>& comparisons,
                                  const std::vector<Point>& points) {
  std::vector<Agreement> all;
  std::vector<std::vector<const Comparison*>> members;
  for (const Comparison& one : comparisons) {
    const Point& told = points[one.simulated];
    const auto same = [&](const Agreement& it) {
      return it.kind == told.kind && it.machine == told.machine;
    };
    const auto index = static_cast<std::size_t>(std::ranges::find_if(all, same) - all.begin());
    if (index == all.size()) {
      all.push_back({.kind = told.kind, .machine = told.machine});
      members.emplace_back();
    }
    members[index].push_back(&one);
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    Agreement& it = all[i];
    it.pairs = members[i].size();
    for (std::size_t a = 0; a < members[i].size(); ++a) {
      const Comparison& one = *members[i][a];
      it.mean_error += std::abs(one.error) / static_cast<double>(it.pairs);
      it.worst_error = std::max(it.worst_error, std::abs(one.error));
      it.mean_beyond_spread += std::abs(one.beyond_spread) / static_cast<double>(it.pairs);
      for (std::size_t b = 0; b < a; ++b) {
        const Comparison& other = *members[i][b];
        const double larger = std::max(one.real_s, other.real_s);
        if (larger <= (1 + kDiffer) * std::min(one.real_s, other.real_s)) continue;
        ++it.ordered;
        const bool right = (one.real_s < other.real_s) == (one.simulated_s < other.simulated_s) &&
                           one.simulated_s != other.simulated_s;
        if (right) ++it.ordered_right;
      }
    }
  }
  return all;
}
}  // namespace switchyard::runtime::study
