// SPDX-License-Identifier: Apache-2.0
// study.json: runtime/study/README.md says what each key means.
#include <cmath>
#include <map>

#include "launch/study/results.hpp"
#include "runtime/study/load.hpp"

namespace switchyard::launch {
namespace {
using Json = nlohmann::ordered_json;
using runtime::study::Point;
using runtime::study::RankKind;
constexpr double kMilli = 1e3;
constexpr int kCurvePoints = 33;
constexpr int kMostRanksShown = 4096;  // whose rows are told one by one

std::string id_of(std::size_t point) {
  return "p" + std::to_string(point + 1);
}

Json machine_name(const StudyResults& results, int machine) {
  if (machine < 0) return nullptr;
  return results.study.machines[static_cast<std::size_t>(machine)];
}

Json settings_json(const runtime::study::Study& study) {
  return {{"model", study.model},
          {"set", study.set},
          {"layers", study.layers},
          {"tokens", study.tokens},
          {"tokens_per_rank", study.tokens_per_rank},
          {"steps", study.steps},
          {"warmup", study.warmup},
          {"seed", study.seed},
          {"weights", study.weights},
          {"math", study.math},
          {"routing", study.routing},
          {"placement", study.placement},
          {"transport", study.transport},
          {"machines", study.machines},
          {"repetitions", study.repetitions},
          {"confidence", study.confidence}};
}

Json method_json() {
  return {{"median",
           "of repetitions; each is the mean step of one start of a process tree, and starts "
           "take turns over all points, every other round in reverse order"},
          {"confidence",
           "order statistics of the repetitions, exact and without an assumption about "
           "their spread: coverage is the chance that low to high has the true median"},
          {"p99",
           "nearest rank over the single steps of all repetitions: of fewer than 100 the slowest"},
          {"efficiency",
           "against the fewest ranks of the curve: R0 t(R0) / (R t(R)) of strong sweeps, "
           "t(R0) / t(R) of weak ones; its interval by bootstrap, 2000 resamples of both "
           "points' repetitions, seeded"},
          {"law",
           "least squares of relative residuals by QR, coefficients not below 0; residual: root "
           "mean square; left_out: the same with each point told by a fit to the others"},
          {"error",
           "simulated over real, less 1; beyond_spread: from the nearer end of the real "
           "interval, 0 inside it"}};
}

Json times_json(const runtime::study::Times& times, double confidence) {
  if (!times.known()) return nullptr;
  const auto estimate = runtime::study::median_interval(times.repetitions_s, confidence);
  Json repetitions = Json::array();
  for (const double seconds : times.repetitions_s) repetitions.push_back(seconds * kMilli);
  const auto [least, most] = std::ranges::minmax(times.repetitions_s);
  Json json = {{"repetitions", repetitions},   {"median", estimate.median * kMilli},
               {"low", estimate.low * kMilli}, {"high", estimate.high * kMilli},
               {"coverage", nullptr},          {"min", least * kMilli},
               {"max", most * kMilli},         {"p99", times.p99_s() * kMilli},
               {"p99_of", times.p99_of()}};
  if (times.repetitions_s.size() > 1) json["coverage"] = estimate.coverage;
  return json;
}

/// Of each phase the median over repetitions, figure by figure.
Json phases_json(const PointState& state) {
  std::vector<std::string> names;
  std::map<std::string, std::map<std::string, std::vector<double>>> values;
  for (const FinishedStart* start : state.good) {
    for (const Json& phase : start->result.value("phases", Json::array())) {
      const std::string name = phase.at("name").get<std::string>();
      if (!values.contains(name)) names.push_back(name);
      for (const auto& [key, value] : phase.items()) {
        if (value.is_number()) values[name][key].push_back(value.get<double>());
      }
    }
  }
  Json phases = Json::array();
  for (const std::string& name : names) {
    Json phase = {{"name", name}};
    for (const char* const key : {"slowest_rank_ms", "mean_ms", "slowest_rank_work_ms",
                                  "mean_work_ms", "slowest_rank_wait_ms", "mean_wait_ms"}) {
      const auto found = values[name].find(key);
      if (found != values[name].end()) phase[key] = runtime::study::median_of(found->second);
    }
    phases.push_back(std::move(phase));
  }
  return phases;
}

/// What one start tells and all of them tell alike.
void take_over(const Json& result, Json& point) {
  for (const char* const key :
       {"balancedness", "compute_imbalance", "logical_bytes", "wire_bytes", "weights", "transport",
        "exchange", "isa", "output_digest", "bytes_between_ranks", "links", "link_use",
        "critical_path", "rank_phases", "simgrid", "routes"}) {
    if (result.contains(key)) point[key] = result.at(key);
  }
  if (result.contains("tier_bytes")) point["tier_bytes"] = result.at("tier_bytes");
  for (const Json& tier : result.value("tiers", Json::array())) {
    point["tier_bytes"][tier.at("tier").get<std::string>()] = tier.at("bytes");
  }
}

/// Loads that are told once, however many points have them.
class Loads {
 public:
  explicit Loads(const runtime::study::Study& study) : study_(study) {}

  void add(const Point& point, Json& json) {
    if (point.ranks > kMostRanksShown) return;
    const auto load = runtime::study::load_of(study_, point);
    if (!load) return;
    Json key = {{"experts", point.experts}, {"top_k", point.top_k}, {"tokens", point.tokens},
                {"routing", point.routing}, {"seed", study_.seed},  {"steps", study_.steps}};
    const auto [found, is_new] = index_.try_emplace(key.dump(), all_.size());
    if (is_new) {
      key["layers"] = load->experts;
      all_.push_back(std::move(key));
    }
    json["load"] = found->second;
    json["rows_by_rank"] = load->ranks;
    json["balancedness_by_step"] = load->balancedness;
  }
  [[nodiscard]] const Json& all() const { return all_; }

 private:
  const runtime::study::Study& study_;
  std::map<std::string, std::size_t> index_;
  Json all_ = Json::array();
};

Json point_json(const StudyResults& results, std::size_t i, Loads& loads) {
  const Point& point = results.plan.points[i];
  const PointState& state = results.states[i];
  Json json = {{"id", id_of(i)},
               {"kind", name_of(point.kind)},
               {"machine", machine_name(results, point.machine)},
               {"ranks", point.ranks},
               {"model", results.study.model},
               {"experts", point.experts},
               {"top_k", point.top_k},
               {"layers", results.study.layers},
               {"tokens", point.tokens},
               {"routing", point.routing},
               {"placement", point.placement},
               {"status", state.status()},
               {"failures", Json::array()}};
  if (point.tokens >= 0) {
    json["tokens_per_rank"] = static_cast<double>(point.tokens) / point.ranks;
  }
  for (const FinishedStart* start : state.failed) {
    json["failures"].push_back({{"repetition", start->repetition},
                                {"status", start->status},
                                {"message", start->message}});
  }
  loads.add(point, json);
  if (state.good.empty()) return json;
  const Json& result = state.good.front()->result;
  json["model"] = result.value("model", results.study.model);
  if (result.contains("nodes")) json["nodes"] = result.at("nodes");
  json["step_ms"] = times_json(results.times[i], results.study.confidence);
  const double tokens = result.contains("tokens_per_step")
                            ? result.at("tokens_per_step").get<double>()
                            : result.value("tokens", static_cast<double>(point.tokens));
  json["tokens"] = tokens;
  json["tokens_per_s"] = tokens / runtime::study::median_of(results.times[i].repetitions_s);
  json["phases"] = phases_json(state);
  take_over(result, json);
  if (json.contains("bytes_between_ranks")) {
    const std::int64_t warmup = point.kind == RankKind::kReal ? results.study.warmup : 0;
    json["bytes_between_ranks_steps"] = results.study.steps + warmup;
  }
  double wall_s = 0;
  for (const FinishedStart* start : state.good) wall_s += start->wall_s;
  json["wall_s"] = wall_s / static_cast<double>(state.good.size());
  return json;
}

Json law_json(const runtime::study::Fit& fit, const runtime::study::Curve& curve, bool best) {
  Json coefficients = Json::object();
  for (std::size_t i = 0; i < fit.coefficients.size(); ++i) {
    coefficients[fit.form.terms[i].name + "_ms"] = fit.coefficients[i] * kMilli;
  }
  Json drawn = Json::array();
  const double first = curve.rows.front().row.number;
  const double last = curve.rows.back().row.number;
  for (int i = 0; i < kCurvePoints; ++i) {
    const double x = first * std::pow(last / first, static_cast<double>(i) / (kCurvePoints - 1));
    drawn.push_back({x, fit.at(x) * kMilli});
  }
  return {{"name", fit.form.name},
          {"formula", fit.form.formula},
          {"coefficients", coefficients},
          {"residual", fit.residual},
          {"left_out", fit.left_out},
          {"worst", fit.worst},
          {"points", curve.rows.size()},
          {"best", best},
          {"curve", drawn}};
}

Json row_json(const StudyResults& results, const runtime::study::CurveRow& row, bool number) {
  Json json = {{"x", number ? Json(row.row.number) : Json(row.row.x)},
               {"point", id_of(row.row.point)},
               {"step_ms", row.step_s.median * kMilli},
               {"low_ms", row.step_s.low * kMilli},
               {"high_ms", row.step_s.high * kMilli},
               {"p99_ms", results.times[row.row.point].p99_s() * kMilli},
               {"speedup", row.speedup.median},
               {"speedup_low", row.speedup.low},
               {"speedup_high", row.speedup.high},
               {"efficiency", nullptr}};
  if (row.efficiency) {
    json["efficiency"] = row.efficiency->median;
    json["efficiency_low"] = row.efficiency->low;
    json["efficiency_high"] = row.efficiency->high;
  }
  return json;
}

std::string label_of(const StudyResults& results, const runtime::study::Series& series) {
  std::string label(name_of(series.kind));
  if (series.machine >= 0) {
    label += " on " + results.study.machines[static_cast<std::size_t>(series.machine)];
  }
  if (series.ranks > 0) label += ", " + std::to_string(series.ranks) + " ranks";
  return label;
}

Json sweeps_json(const StudyResults& results) {
  using runtime::study::Over;
  Json sweeps = Json::array();
  for (const auto& sweep : results.study.sweeps) {
    const bool words = sweep.over == Over::kSkew || sweep.over == Over::kPlacement;
    Json all = Json::array();
    for (const auto& curve : results.curves) {
      if (curve.series.over != sweep.over) continue;
      Json series = {{"label", label_of(results, curve.series)},
                     {"kind", name_of(curve.series.kind)},
                     {"machine", machine_name(results, curve.series.machine)},
                     {"ranks", curve.series.ranks > 0 ? Json(curve.series.ranks) : Json(nullptr)},
                     {"rows", Json::array()},
                     {"laws", Json::array()}};
      for (const auto& row : curve.rows) series["rows"].push_back(row_json(results, row, !words));
      for (std::size_t i = 0; i < curve.laws.size(); ++i) {
        series["laws"].push_back(law_json(curve.laws[i], curve, i == 0));
      }
      if (!curve.no_law.empty()) series["no_law"] = curve.no_law;
      all.push_back(std::move(series));
    }
    const std::string x = sweep.over == Over::kExperts     ? "experts"
                          : sweep.over == Over::kTopK      ? "top_k"
                          : sweep.over == Over::kSkew      ? "routing"
                          : sweep.over == Over::kPlacement ? "placement"
                                                           : "ranks";
    sweeps.push_back({{"name", name_of(sweep.over)}, {"x", x}, {"series", std::move(all)}});
  }
  return sweeps;
}

/// Phases that both have, by name.
Json phase_errors(const Json& real, const Json& told) {
  Json phases = Json::array();
  for (const Json& one : real.value("phases", Json::array())) {
    for (const Json& other : told.value("phases", Json::array())) {
      if (one.at("name") != other.at("name")) continue;
      const double real_ms = one.value("slowest_rank_ms", 0.0);
      const double told_ms = other.value("slowest_rank_ms", 0.0);
      phases.push_back({{"name", one.at("name")},
                        {"real_ms", real_ms},
                        {"simulated_ms", told_ms},
                        {"error", real_ms > 0 ? Json(told_ms / real_ms - 1) : Json(nullptr)}});
    }
  }
  return phases;
}

Json comparisons_json(const StudyResults& results, const Json& points) {
  Json all = Json::array();
  for (const auto& one : results.comparisons) {
    const Json& real = points[one.real];
    const Json& told = points[one.simulated];
    Json json = {{"real", id_of(one.real)},
                 {"simulated", id_of(one.simulated)},
                 {"kind", told.at("kind")},
                 {"machine", told.at("machine")},
                 {"real_ms", one.real_s * kMilli},
                 {"simulated_ms", one.simulated_s * kMilli},
                 {"error", one.error},
                 {"beyond_spread", one.beyond_spread},
                 {"phases", phase_errors(real, told)}};
    const bool alike = real.value("transport", "") == told.value("transport", "none");
    if (alike && real.contains("wire_bytes") && told.contains("wire_bytes")) {
      json["wire_bytes_equal"] = real.at("wire_bytes") == told.at("wire_bytes");
    }
    all.push_back(std::move(json));
  }
  return all;
}
}  // namespace

Json study_json(const StudyResults& results) {
  Json points = Json::array();
  Loads loads(results.study);
  for (std::size_t i = 0; i < results.plan.points.size(); ++i) {
    points.push_back(point_json(results, i, loads));
  }
  Json summary = Json::array();
  for (const auto& it : results.agreements) {
    summary.push_back({{"kind", name_of(it.kind)},
                       {"machine", machine_name(results, it.machine)},
                       {"pairs", it.pairs},
                       {"mean_error", it.mean_error},
                       {"worst_error", it.worst_error},
                       {"mean_beyond_spread", it.mean_beyond_spread},
                       {"ordered", it.ordered},
                       {"ordered_right", it.ordered_right}});
  }
  Json digests = Json::array();
  for (const auto& [a, b] : results.other_digests) digests.push_back({id_of(a), id_of(b)});
  Json comparisons = comparisons_json(results, points);
  return {{"complete", results.complete()},
          {"starts",
           {{"wanted", results.starts_wanted},
            {"done", results.starts_done},
            {"failed", results.starts_failed}}},
          {"settings", settings_json(results.study)},
          {"method", method_json()},
          {"points", std::move(points)},
          {"sweeps", sweeps_json(results)},
          {"comparisons", std::move(comparisons)},
          {"comparison_summary", std::move(summary)},
          {"digests_differ", std::move(digests)},
          {"left_out", results.plan.left_out},
          {"loads", loads.all()}};
}
}  // namespace switchyard::launch
