// SPDX-License-Identifier: Apache-2.0
#include "launch/simulator/faithful.hpp"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "comm/group/mpi_group.hpp"
#include "launch/commands/run_report.hpp"
#include "launch/simulator/faithful_report.hpp"
#include "launch/simulator/variant.hpp"
#include "launch/terminal.hpp"
#include "runtime/report/trace_file.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/simulate/engine/simulation.hpp"
#include "runtime/simulate/flows.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::Simulation;

// Bytes of every pair of ranks are shown up to so many.
constexpr int kMostShown = 64;

/// Tells the simulation what its ranks are at.
class PhaseTeller : public comm::Observer {
 public:
  void moved(const comm::Position& to) override { Simulation::enters(to.phase); }
};

/// The ranks are in one process and come here one after the other.
void count_bytes(const std::vector<std::int64_t>& sent, int rank, const runtime::Machine& machine,
                 runtime::Flows& flows, Faithful& all) {
  for (std::size_t to = 0; to < sent.size(); ++to) {
    if (sent[to] == 0) continue;
    const auto tier = machine.tier_of(rank, static_cast<int>(to));
    all.tier_bytes[static_cast<std::size_t>(tier)] += static_cast<double>(sent[to]);
    flows.add(rank, static_cast<int>(to), static_cast<double>(sent[to]), 0);
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
void write_timelines(const std::string& name, Faithful& all) {
  runtime::WholeFile file("--trace", name);
  all.result.trace = runtime::write_trace(all.timelines, [&file](std::string_view text) {
    file.write(std::as_bytes(std::span(text)));
  });
  file.commit();
  if (all.result.trace.dropped == 0) return;
  Reporter().warning("--trace: the first " + std::to_string(all.result.trace.dropped) +
                     " events made room for later ones; more --trace-events keep them");
}

}  // namespace

Faithful simulate(const SimulateSettings& settings, const runtime::Machine& machine) {
  const int ranks = settings.ranks;
  Faithful all;
  if (ranks <= kMostShown) all.sent.resize(static_cast<std::size_t>(ranks));
  const runtime::RunJob job = runtime::prepare_job(settings.run, 0, ranks);
  const runtime::TrafficJob traffic{.settings = settings.run,
                                    .machine = machine,
                                    .job = job,
                                    .transport = settings.run.layer.transport,
                                    .window = settings.window,
                                    .weights = stored_type(settings, machine),
                                    .compute = settings.compute,
                                    .balanced = settings.balanced,
                                    .deduplicate = settings.deduplicate};
  if (!settings.numerics) all.ranks.resize(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks && settings.run.trace_events > 0; ++r) {
    all.timelines.push_back(std::make_unique<runtime::Timeline>(1, settings.run.trace_events));
  }
  Simulation simulation(machine, {.ranks = ranks, .settings = settings.simgrid});
  const runtime::Platform& platform = simulation.platform();
  runtime::Links links(
      machine, {.names = platform.names(),
                .bytes_per_s = platform.bytes_per_s(),
                .route = [&platform](int from, int to) { return platform.route(from, to).links; }});
  runtime::Flows flows(links, runtime::Flows::By::kSource);
  PhaseTeller teller;
  const auto body = [&](int rank) {
    try {
      const auto group = comm::MpiGroup::world();
      const comm::Observing observing(group->deadline(), &teller);
      group->play_nodes(machine.ranks_per_node);
      if (settings.numerics) {
        runtime::RunResult mine = runtime::run(*group, settings.run, {});
        if (rank == 0) all.result = std::move(mine);
      } else {
        const auto r = static_cast<std::size_t>(rank);
        all.ranks[r] =
            runtime::carry_traffic(*group, traffic, Simulation::compute, Simulation::now,
                                   all.timelines.empty() ? nullptr : all.timelines[r].get());
      }
      count_bytes(group->bytes_sent(), rank, machine, flows, all);
    } catch (const std::exception& error) {
      leave(error, rank, ranks);
    }
  };
  simulation.run(body, leave_stuck);
  all.simulated_s = Simulation::now();
  all.path = simulation.critical_path();
  all.flows = simulation.flows();
  flows.finish();
  all.links = runtime::busiest_links(links, flows.bytes(), settings.links);
  if (!settings.numerics) all.result = runtime::sum_up(traffic, all.ranks, settings.layers);
  return all;
}

void simulate_faithful(const SimulateSettings& settings, const runtime::Machine& machine,
                       std::ostream& out, JsonOutput& json) {
  const auto wall = std::chrono::system_clock::now();
  std::vector<WhatIf> what_if;
  for (const std::string& name : settings.what_if) {
    what_if.push_back(simulate_variant(name, settings, machine));
  }
  Faithful all = simulate(settings, machine);
  if (!all.timelines.empty()) write_timelines(settings.trace, all);
  print_run(all.result, out);
  print_faithful(settings, all, what_if, machine, out);
  if (!json.wanted()) return;
  auto result = faithful_json(settings, all, what_if, machine);
  result["wall_s"] = std::chrono::duration<double>(std::chrono::system_clock::now() - wall).count();
  json.write(result);
}
}  // namespace switchyard::launch
