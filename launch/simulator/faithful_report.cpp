// SPDX-License-Identifier: Apache-2.0
#include "launch/simulator/faithful_report.hpp"

#include <algorithm>
#include <cstdio>

#include "launch/commands/run_report.hpp"
#include "runtime/report/phases.hpp"
#include "runtime/simulate/engine/simulation.hpp"

namespace switchyard::launch {
namespace {
using runtime::Cause;
using runtime::Tier;
using Json = nlohmann::ordered_json;

// Stretches of the critical path that are written one by one.
constexpr std::size_t kMostStretches = 1000;

std::string what_of(const Cause& cause, const runtime::Machine& machine) {
  if (cause.kind == Cause::Kind::kMessages) return "messages";
  if (cause.kind == Cause::Kind::kBusy) {
    return cause.phase == "experts" || cause.phase == "always-on" ? "computing" : "beginning";
  }
  const Tier tier = machine.tier_of(cause.from, cause.rank);
  return "flows, " + std::string(name_of(tier));
}

std::string us(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f us", seconds * 1e6);
  return text;
}

/// Of the steps that were simulated to one step of all layers that it stands for.
double a_step(const SimulateSettings& settings, const Faithful& all) {
  const auto steps = static_cast<double>(settings.run.steps + settings.run.warmup);
  return static_cast<double>(all.result.layers) / static_cast<double>(settings.run.layers) / steps;
}
}  // namespace

std::vector<PathPart> parts_of(const std::vector<Cause>& path, const runtime::Machine& machine) {
  std::vector<PathPart> parts;
  for (const Cause& cause : path) {
    const std::string what = what_of(cause, machine);
    const auto same = [&](const PathPart& part) {
      return part.phase == cause.phase && part.what == what;
    };
    auto found = std::ranges::find_if(parts, same);
    if (found == parts.end()) {
      parts.push_back({.phase = std::string(cause.phase), .what = what});
      found = parts.end() - 1;
    }
    found->seconds += cause.end_s - cause.begin_s;
  }
  std::ranges::stable_sort(parts, std::ranges::greater(), &PathPart::seconds);
  return parts;
}

double step_seconds(const Faithful& all) {
  return all.result.seconds / static_cast<double>(all.result.steps);
}

void print_faithful(const SimulateSettings& settings, const Faithful& all,
                    const std::vector<WhatIf>& what_if, const runtime::Machine& machine,
                    std::ostream& out) {
  const auto row = [&out](std::string name, const std::string& value) {
    name.resize(16, ' ');
    out << name << value << '\n';
  };
  char line[160];
  row("machine", machine.name + ", " + std::to_string(machine.nodes) + " nodes of " +
                     std::to_string(machine.ranks_per_node) +
                     " ranks, fabric: " + std::string(name_of(machine.fabric.shape)));
  row("simulated step", us(step_seconds(all)));
  if (!all.ranks.empty()) {
    const runtime::LayerTimes times = runtime::layer_times(all.ranks);
    row("a layer", us(times.mean_s) + " in the mean, " + us(times.least_s) + " to " +
                       us(times.most_s) + ", of " + std::to_string(settings.run.layers) +
                       " simulated for " + std::to_string(settings.layers));
  }
  out << "\ncritical path                               us   of the run\n";
  for (const PathPart& part : parts_of(all.path, machine)) {
    std::snprintf(line, sizeof line, "  %-34s %11.3f %8.1f %%\n",
                  (part.phase + ": " + part.what).c_str(), 1e6 * part.seconds,
                  100 * part.seconds / all.simulated_s);
    out << line;
  }
  out << "\nbusiest links                     MB a step   of the run\n";
  for (const runtime::LinkUse& link : all.links) {
    std::snprintf(line, sizeof line, "  %-34s %11.3f %8.1f %%\n", link.name.c_str(),
                  link.bytes * a_step(settings, all) / 1e6, 100 * link.busy_s / all.simulated_s);
    out << line;
  }
  if (!what_if.empty()) out << "\nif                                  us a step   over this\n";
  for (const WhatIf& other : what_if) {
    std::snprintf(line, sizeof line, "  %-34s %11.3f %8.3f\n", other.name.c_str(),
                  1e6 * other.step_s, other.step_s / step_seconds(all));
    out << line;
  }
}

Json faithful_json(const SimulateSettings& settings, const Faithful& all,
                   const std::vector<WhatIf>& what_if, const runtime::Machine& machine) {
  Json json = run_json(all.result);
  json["engine"] = "faithful";
  json["simgrid"] = runtime::Simulation::version();
  json["machine"] = machine.name;
  json["nodes"] = machine.nodes;
  json["ranks_per_node"] = machine.ranks_per_node;
  json["numerics"] = settings.numerics;
  json["simulated_s"] = all.simulated_s;
  json["simulated_step_s"] = step_seconds(all);
  json["flows_simulated"] = all.flows;
  if (!all.ranks.empty()) {
    const runtime::LayerTimes times = runtime::layer_times(all.ranks);
    json["layers_simulated"] = settings.run.layers;
    json["layer_s"] = {{"least", times.least_s}, {"mean", times.mean_s}, {"most", times.most_s}};
    double messages = 0;
    for (const auto& rank : all.ranks) messages += static_cast<double>(rank.messages);
    json["messages_simulated"] = messages;
    Json& by_rank = json["phase_ms_by_rank"];
    for (std::size_t p = 0; p < runtime::kNumPhases; ++p) {
      Json& ranks = by_rank[std::string(runtime::kPhaseNames[p])] = Json::array();
      for (const auto& rank : all.ranks) {
        ranks.push_back(1e3 * rank.phases.seconds[p] / static_cast<double>(all.result.steps));
      }
    }
  }
  for (const Tier tier : runtime::kAllTiers) {
    json["tier_bytes"][std::string(name_of(tier))] = all.tier_bytes[static_cast<std::size_t>(tier)];
  }
  Json& links = json["links"] = Json::array();
  for (const runtime::LinkUse& link : all.links) {
    links.push_back({{"name", link.name},
                     {"bytes", link.bytes * a_step(settings, all)},
                     {"utilisation", link.busy_s / all.simulated_s}});
  }
  Json parts = Json::array();
  for (const PathPart& part : parts_of(all.path, machine)) {
    parts.push_back({{"phase", part.phase},
                     {"what", part.what},
                     {"seconds", part.seconds},
                     {"share", part.seconds / all.simulated_s}});
  }
  Json stretches = Json::array();
  for (std::size_t i = 0; i < std::min(all.path.size(), kMostStretches); ++i) {
    const Cause& cause = all.path[i];
    Json stretch = {
        {"phase", cause.phase}, {"what", what_of(cause, machine)}, {"rank", cause.rank}};
    if (cause.kind == Cause::Kind::kFlow) stretch["from"] = cause.from;
    stretch["begin_s"] = cause.begin_s;
    stretch["end_s"] = cause.end_s;
    stretches.push_back(std::move(stretch));
  }
  json["critical_path"] = {{"parts", std::move(parts)},
                           {"stretches", std::move(stretches)},
                           {"stretches_of", all.path.size()}};
  Json& others = json["what_if"] = Json::array();
  for (const WhatIf& other : what_if) {
    others.push_back({{"name", other.name},
                      {"simulated_step_s", other.step_s},
                      {"over_this", other.step_s / step_seconds(all)},
                      {"phases", other.phases}});
  }
  if (!all.sent.empty()) json["bytes_between_ranks"] = all.sent;
  return json;
}
}  // namespace switchyard::launch
