// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/simulate_fast.hpp"

#include <chrono>
#include <cstdio>

#include "launch/commands/run_options.hpp"
#include "runtime/simulate/fast_run.hpp"

namespace switchyard::launch {
namespace {
using Json = nlohmann::ordered_json;

std::string shown(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string milliseconds(double seconds) {
  return shown("%.4g ms", 1e3 * seconds);
}

/// 1536000 as "1.536 MB"; units of a thousand.
std::string amount(double bytes) {
  const char* unit = " B";
  for (const char* next : {" kB", " MB", " GB", " TB"}) {
    if (bytes < 1000) break;
    bytes /= 1000;
    unit = next;
  }
  return shown("%.4g", bytes) + unit;
}

void print(const runtime::FastRunResult& result, const runtime::Machine& machine,
           const std::string& engine, std::ostream& out) {
  const auto row = [&out](std::string name, const std::string& value) {
    name.resize(16, ' ');
    out << name << value << '\n';
  };
  const auto& [step_s, phases, balancedness, logical, wire, tiers] = result.outcome;
  row("machine", machine.name + ": " + std::to_string(result.nodes) + " nodes of " +
                     std::to_string(machine.ranks_per_node) + ", " +
                     std::string(runtime::name_of(machine.fabric.shape)));
  row("engine", "closed form over the routes of " + engine +
                    ": all flows of a phase at once, phases one after the other");
  row("model", result.model + ", " + std::to_string(result.layers) + " MoE layers, " +
                   result.weights + " weights");
  row("ranks", std::to_string(result.ranks) + ", transport " + result.transport +
                   (result.transport_why.empty() ? "" : " (" + result.transport_why + ")") +
                   ", placement " + result.placement);
  row("tokens", std::to_string(result.tokens) + " a step, routing " + result.routing +
                    " (no router is run), " + std::to_string(result.steps) + " steps");
  row("step", milliseconds(step_s));
  for (const auto& phase : phases) {
    row("  " + phase.name,
        milliseconds(phase.seconds) + shown(", %.0f %%", 100 * phase.seconds / step_s) +
            "; longest in a layer: " + milliseconds(phase.limit_s) + ", by " + phase.limit);
  }
  row("balancedness", shown("%.3f", balancedness));
  row("logical bytes", amount(logical));
  row("wire bytes", amount(wire));
  for (const runtime::Tier tier : runtime::kAllTiers) {
    const double bytes = tiers[static_cast<std::size_t>(tier)];
    if (bytes > 0) row("  " + std::string(runtime::name_of(tier)), amount(bytes));
  }
  out << "\nbusiest links           bytes a step   of the step\n";
  for (const auto& link : result.links) {
    char line[160];
    std::snprintf(line, sizeof line, "  %-34s %10s %8.1f %%\n", link.name.c_str(),
                  amount(link.bytes).c_str(), 100 * link.utilisation);
    out << line;
  }
  if (!result.what_if.empty()) out << "\nif                          step       over this\n";
  for (const auto& other : result.what_if) {
    char line[160];
    std::snprintf(line, sizeof line, "  %-20s %12s %10.3f\n", other.name.c_str(),
                  milliseconds(other.outcome.step_s).c_str(), other.outcome.step_s / step_s);
    out << line;
  }
}

Json phases_of(const runtime::FastOutcome& outcome) {
  Json phases = Json::array();
  for (const auto& phase : outcome.phases) {
    phases.push_back({{"name", phase.name},
                      {"slowest_rank_ms", 1e3 * phase.seconds},
                      {"longest_layer_ms", 1e3 * phase.limit_s},
                      {"limit", phase.limit}});
  }
  return phases;
}

Json to_json(const runtime::FastRunResult& result, const runtime::Machine& machine,
             const std::string& engine) {
  Json tiers = Json::array();
  for (const runtime::Tier tier : runtime::kAllTiers) {
    tiers.push_back({{"tier", runtime::name_of(tier)},
                     {"bytes", result.outcome.tier_bytes[static_cast<std::size_t>(tier)]}});
  }
  Json links = Json::array();
  for (const auto& link : result.links) {
    links.push_back(
        {{"name", link.name}, {"bytes", link.bytes}, {"utilisation", link.utilisation}});
  }
  Json what_if = Json::array();
  for (const auto& other : result.what_if) {
    what_if.push_back({{"name", other.name},
                       {"simulated_step_s", other.outcome.step_s},
                       {"over_this", other.outcome.step_s / result.outcome.step_s},
                       {"phases", phases_of(other.outcome)}});
  }
  return {{"engine", "closed form"},
          {"routes", engine},
          {"machine", machine.name},
          {"model", result.model},
          {"nodes", result.nodes},
          {"layers", result.layers},
          {"steps", result.steps},
          {"tokens", result.tokens},
          {"routing", result.routing},
          {"transport", result.transport},
          {"placement", result.placement},
          {"weights", result.weights},
          {"simulated_step_s", result.outcome.step_s},
          {"tokens_per_s", static_cast<double>(result.tokens) / result.outcome.step_s},
          {"phases", phases_of(result.outcome)},
          {"balancedness", result.outcome.balancedness},
          {"logical_bytes", result.outcome.logical_bytes},
          {"wire_bytes", result.outcome.wire_bytes},
          {"tiers", tiers},
          {"links", links},
          {"what_if", what_if},
          {"layer_wall_s", result.layer_wall_s}};
}
}  // namespace

std::vector<Option> fast_options() {
  return {list_option("what-if", "CHANGE",
                      "the same with one thing changed: perfect-balance, infinite-network, "
                      "no-deduplication, one-level, two-level, relay, or another placement; any "
                      "number of times"),
          integer_option("links", "COUNT", "busiest links to name", 20,
                         {.least = 0, .most = 1'000'000})};
}

void simulate_fast(const Options& options, const runtime::Machine& machine,
                   const runtime::FabricLinks& fabric, const std::string& engine, std::ostream& out,
                   JsonOutput& json) {
  const auto start = std::chrono::steady_clock::now();
  const auto result = runtime::simulate_fast(
      {.run = run_settings(options),
       .ranks = options.has("ranks") ? static_cast<int>(options.integer("ranks")) : machine.ranks(),
       .what_if = options.list("what-if"),
       .links = static_cast<std::size_t>(options.integer("links"))},
      machine, fabric);
  const double wall_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print(result, machine, engine, out);
  out << '\n'
      << shown("%.3g s of wall time, ", wall_s)
      << shown("%.3g s of them a layer and placement, its routing given\n", result.layer_wall_s);
  if (!json.wanted()) return;
  Json all = to_json(result, machine, engine);
  all["wall_s"] = wall_s;
  json.write(all);
}
}  // namespace switchyard::launch
