// SPDX-License-Identifier: Apache-2.0
// switchyard-sim [options]: `run` on a machine that is not there. Its ranks are actors of SimGrid
// in this one process.
#include <chrono>
#include <exception>
#include <unistd.h>

#include "comm/mpi_group.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/commands/run_report.hpp"
#include "launch/json_output.hpp"
#include "launch/terminal.hpp"
#include "launch/version.hpp"
#include "runtime/run/run.hpp"
#include "runtime/simulate/engine/simulation.hpp"
#include "runtime/status.hpp"

namespace {
using namespace switchyard;          // NOLINT(google-build-using-namespace): a program's own
using namespace switchyard::launch;  // NOLINT(google-build-using-namespace)

/// Options of this program beside those of `run`.
std::vector<Option> simulator_options() {
  return {integer_option("ranks", "COUNT", "to simulate", 4, {.least = 1, .most = 65536}),
          integer_option("ranks-per-node", "COUNT", "consecutive ranks that are a node", 8,
                         {.least = 1, .most = 65536}),
          list_option("simgrid", "NAME:VALUE", "a setting of SimGrid's own"),
          output_option("json", "FILE", "write the result as JSON as well; -: to stdout, instead")};
}

Syntax syntax() {
  Syntax syntax{.command = "simulate",
                .summary = "what run would do on another machine",
                .options = run_options(),
                .positionals = {}};
  for (Option& option : simulator_options()) syntax.options.push_back(std::move(option));
  return syntax;
}

/// Ends the program, all ranks with it.
[[noreturn]] void leave(const std::exception& error, int rank, int ranks) {
  Reporter(rank, ranks).error(error.what());
  std::_Exit(runtime::status_of(error));
}

[[noreturn]] void leave_stuck() {
  Reporter().error("simulate: every rank waits and nothing is on its way, at " +
                   std::to_string(runtime::Simulation::now()) + " s of simulated time");
  std::_Exit(runtime::kTemporary);
}

int simulate(const std::vector<std::string>& args, const std::vector<std::string>& environment) {
  const Options options = Options::parse(syntax(), args, environment);
  runtime::RunSettings settings = run_settings(options);
  const auto wall = std::chrono::steady_clock::now();
  const int ranks = static_cast<int>(options.integer("ranks"));
  const int per_node = static_cast<int>(options.integer("ranks-per-node"));
  if (settings.layer.transport == "auto") settings.layer.transport = "p2p";
  settings.layer.node_queue = false;

  Results results(STDOUT_FILENO);
  Results nowhere(-1);
  JsonOutput json;
  const nlohmann::ordered_json header{
      {"command", "simulate"}, {"version", version()}, {"ranks", ranks}};
  if (options.has("json")) json = {options.text("json"), results, header};

  runtime::RunResult result;
  double simulated_s = 0;
  {
    runtime::Simulation simulation(
        {.ranks = ranks, .ranks_per_node = per_node, .settings = options.list("simgrid")});
    simulation.run(
        [&](int rank) {
          try {
            const auto group = comm::MpiGroup::world();
            group->play_nodes(per_node);
            runtime::RunResult mine = runtime::run(*group, settings, {});
            if (rank == 0) result = std::move(mine);
          } catch (const std::exception& error) {
            leave(error, rank, ranks);
          }
        },
        leave_stuck);
    simulated_s = runtime::Simulation::now();
  }
  print_run(result, options.has("json") && options.text("json") == "-" ? nowhere : results);
  if (json.wanted()) {
    auto all = run_json(result);
    all["engine"] = "faithful";
    all["simgrid"] = runtime::Simulation::version();
    all["simulated_s"] = simulated_s;
    all["simulated_step_s"] = result.seconds / static_cast<double>(result.steps);
    all["wall_s"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count();
    json.write(all);
  }
  results.finish();
  return runtime::kDone;
}
}  // namespace

int main(int argc, char** argv) {
  prepare_descriptors();
  const std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  try {
    return simulate(args, environment);
  } catch (const std::exception& error) {
    Reporter().error(error.what());
    return runtime::status_of(error);
  }
}
