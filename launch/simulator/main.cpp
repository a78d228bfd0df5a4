// SPDX-License-Identifier: Apache-2.0
// switchyard-sim [options]: `run` on a machine that is not there. Its ranks are actors of SimGrid
// in this one process.
#include <exception>
#include <unistd.h>

#include "launch/commands/simulate_fast.hpp"
#include "launch/commands/simulate_options.hpp"
#include "launch/json_output.hpp"
#include "launch/simulator/faithful.hpp"
#include "launch/terminal.hpp"
#include "launch/version.hpp"
#include "runtime/simulate/engine/simulation.hpp"
#include "runtime/simulate/links.hpp"
#include "runtime/status.hpp"

namespace {
using namespace switchyard::launch;  // NOLINT(google-build-using-namespace): the program's own
namespace runtime = switchyard::runtime;

Syntax syntax() {
  Syntax syntax{.command = "simulate",
                .summary = "what run would do on another machine, with its ranks simulated",
                .options = simulate_options(),
                .positionals = {}};
  syntax.options.push_back(
      output_option("json", "FILE", "write the result as JSON as well; -: to stdout, instead"));
  return syntax;
}

int simulate(const std::vector<std::string>& args, const std::vector<std::string>& environment) {
  for (const std::string& word : args) {
    if (word != "--help" && word != "-h") continue;
    Results results(STDOUT_FILENO);
    results << help_text(syntax());
    results.finish();
    return runtime::kDone;
  }
  const Options options = Options::parse(syntax(), args, environment);
  SimulateSettings settings = simulate_settings(options);
  runtime::Machine machine = runtime::machine_from(settings.machine);
  if (settings.ranks == 0) settings.ranks = machine.ranks();
  machine = machine.with_ranks(settings.ranks);
  if (!settings.fast) settle_transport(options, machine.nodes, settings);

  Results results(STDOUT_FILENO);
  Results nowhere(-1);
  JsonOutput json;
  if (options.has("json")) {
    json = {options.text("json"),
            results,
            {{"command", "simulate"}, {"version", version()}, {"ranks", settings.ranks}}};
  }
  const bool silent = options.has("json") && options.text("json") == "-";
  std::ostream& out = silent ? nowhere : results;
  if (settings.fast) {
    const runtime::Simulation simulation(
        machine, {.ranks = settings.ranks, .settings = {}, .carries = false});
    const runtime::Platform& platform = simulation.platform();
    const runtime::FabricLinks fabric{
        .names = platform.names(),
        .bytes_per_s = platform.bytes_per_s(),
        .route = [&platform](int from, int to) { return platform.route(from, to).links; }};
    simulate_fast(options, machine, fabric, "SimGrid " + runtime::Simulation::version(), out, json);
  } else {
    simulate_faithful(settings, machine, out, json);
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
