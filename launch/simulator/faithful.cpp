// SPDX-License-Identifier: Apache-2.0
#include "launch/simulator/faithful.hpp"

#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "comm/group/mpi_group.hpp"
#include "launch/commands/run_report.hpp"
#include "launch/terminal.hpp"
#include "runtime/simulate/engine/simulation.hpp"
#include "runtime/simulate/traffic.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::Simulation;

// Bytes of every pair of ranks are shown up to so many.
constexpr int kMostShown = 64;

/// What the ranks hand in; they are in one process and come here one after the other.
struct Collected {
  runtime::RunResult result;
  std::vector<runtime::RankTraffic> ranks;
  std::vector<std::vector<std::int64_t>> sent;  ///< [ranks, ranks] bytes, if they are few
  std::array<double, runtime::kAllTiers.size()> tier_bytes{};
};

void count_bytes(const std::vector<std::int64_t>& sent, int rank, const runtime::Machine& machine,
                 Collected& all) {
  for (std::size_t to = 0; to < sent.size(); ++to) {
    if (sent[to] == 0) continue;
    const auto tier = machine.tier_of(rank, static_cast<int>(to));
    all.tier_bytes[static_cast<std::size_t>(tier)] += static_cast<double>(sent[to]);
  }
  if (!all.sent.empty()) all.sent[static_cast<std::size_t>(rank)] = sent;
}

/// Ends the program, all ranks with it.
[[noreturn]] void leave(const std::exception& error, int rank, int ranks) {
  Reporter(rank, ranks).error(error.what());
  std::_Exit(runtime::status_of(error));
}

[[noreturn]] void leave_stuck() {
  Reporter().error("simulate: every rank waits and nothing is on its way, at " +
                   std::to_string(Simulation::now()) + " s of simulated time");
  std::_Exit(runtime::kTemporary);
}

/// What the machine is asked how fast it computes.
experts::DType stored_type(const SimulateSettings& settings, const runtime::Machine& machine) {
  if (settings.run.weights != "auto") return experts::dtype_from(settings.run.weights);
  return machine.rates.empty() ? experts::DType::kFloat32 : machine.rates.front().type;
}

void print_more(const SimulateSettings& settings, const Collected& all,
                const runtime::Machine& machine, std::ostream& out) {
  const auto row = [&out](std::string name, const std::string& value) {
    name.resize(16, ' ');
    out << name << value << '\n';
  };
  row("machine", machine.name + ", " + std::to_string(machine.nodes) + " nodes of " +
                     std::to_string(machine.ranks_per_node) +
                     " ranks, fabric: " + std::string(runtime::name_of(machine.fabric.shape)));
  const auto us = [](double seconds) { return std::to_string(seconds * 1e6) + " us"; };
  row("simulated step", us(all.result.seconds / static_cast<double>(all.result.steps)));
  if (settings.numerics) return;
  const runtime::LayerTimes times = runtime::layer_times(all.ranks);
  row("a layer", us(times.mean_s) + " in the mean, " + us(times.least_s) + " to " +
                     us(times.most_s) + ", of " + std::to_string(settings.run.layers) +
                     " simulated for " + std::to_string(settings.layers));
}

nlohmann::ordered_json to_json(const SimulateSettings& settings, const Collected& all,
                               const runtime::Machine& machine, double simulated_s) {
  nlohmann::ordered_json json = run_json(all.result);
  json["engine"] = "faithful";
  json["simgrid"] = Simulation::version();
  json["machine"] = machine.name;
  json["nodes"] = machine.nodes;
  json["ranks_per_node"] = machine.ranks_per_node;
  json["numerics"] = settings.numerics;
  json["simulated_s"] = simulated_s;
  json["simulated_step_s"] = all.result.seconds / static_cast<double>(all.result.steps);
  if (!settings.numerics) {
    const runtime::LayerTimes times = runtime::layer_times(all.ranks);
    json["layers_simulated"] = settings.run.layers;
    json["layer_s"] = {{"least", times.least_s}, {"mean", times.mean_s}, {"most", times.most_s}};
    double messages = 0;
    for (const auto& rank : all.ranks) messages += static_cast<double>(rank.messages);
    json["messages_simulated"] = messages;
  }
  for (const runtime::Tier tier : runtime::kAllTiers) {
    json["tier_bytes"][std::string(runtime::name_of(tier))] =
        all.tier_bytes[static_cast<std::size_t>(tier)];
  }
  if (!all.sent.empty()) json["bytes_between_ranks"] = all.sent;
  return json;
}
}  // namespace

void simulate_faithful(const SimulateSettings& settings, const runtime::Machine& machine,
                       std::ostream& out, JsonOutput& json) {
  const auto wall = std::chrono::system_clock::now();
  const int ranks = settings.ranks;
  Collected all;
  if (ranks <= kMostShown) all.sent.resize(static_cast<std::size_t>(ranks));
  const runtime::RunJob job = runtime::prepare_job(settings.run, 0, ranks);
  const runtime::TrafficJob traffic{.settings = settings.run,
                                    .machine = machine,
                                    .job = job,
                                    .transport = settings.run.layer.transport,
                                    .window = settings.window,
                                    .weights = stored_type(settings, machine),
                                    .compute = settings.compute};
  if (!settings.numerics) all.ranks.resize(static_cast<std::size_t>(ranks));
  const auto body = [&](int rank) {
    try {
      const auto group = comm::MpiGroup::world();
      group->play_nodes(machine.ranks_per_node);
      if (settings.numerics) {
        runtime::RunResult mine = runtime::run(*group, settings.run, {});
        if (rank == 0) all.result = std::move(mine);
      } else {
        all.ranks[static_cast<std::size_t>(rank)] =
            runtime::carry_traffic(*group, traffic, Simulation::compute, Simulation::now);
      }
      count_bytes(group->bytes_sent(), rank, machine, all);
    } catch (const std::exception& error) {
      leave(error, rank, ranks);
    }
  };
  double simulated_s = 0;
  {
    Simulation simulation(machine, {.ranks = ranks, .settings = settings.simgrid});
    simulation.run(body, leave_stuck);
    simulated_s = Simulation::now();
  }
  if (!settings.numerics) all.result = runtime::sum_up(traffic, all.ranks, settings.layers);
  print_run(all.result, out);
  print_more(settings, all, machine, out);
  if (!json.wanted()) return;
  auto result = to_json(settings, all, machine, simulated_s);
  result["wall_s"] = std::chrono::duration<double>(std::chrono::system_clock::now() - wall).count();
  json.write(result);
}
}  // namespace switchyard::launch
