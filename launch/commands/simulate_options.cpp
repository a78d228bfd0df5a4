// SPDX-License-Identifier: Apache-2.0
#include "launch/commands/simulate_options.hpp"

#include <charconv>
#include <stdexcept>

#include "launch/commands/run_options.hpp"
#include "launch/commands/simulate_fast.hpp"

namespace switchyard::launch {
namespace {
// Above it a poll's cost shows in what is measured: SimGrid's default is 100 us.
constexpr double kMostPollSeconds = 1e-6;
// From here on messages between all pairs are more flows than SimGrid's solver takes.
constexpr int kMostFlooding = 64;

void require_no_poll_costs(const Options& options) {
  if (options.flag("allow-poll-costs")) return;
  for (const std::string& setting : options.list("simgrid")) {
    for (const std::string name : {"smpi/test:", "smpi/iprobe:"}) {
      if (!setting.starts_with(name)) continue;
      double seconds = 0;
      std::from_chars(setting.data() + name.size(), setting.data() + setting.size(), seconds);
      if (seconds <= kMostPollSeconds) continue;
      throw std::invalid_argument("--simgrid: got " + setting +
                                  ", so a receive of 1 us would take that long, want at most 1e-6, "
                                  "or --allow-poll-costs");
    }
  }
}

void require_simulated(const runtime::RunSettings& run, const Options& options) {
  for (const char* const flag : {"stateful", "serve"}) {
    if (!options.flag(flag)) continue;
    throw std::invalid_argument(std::string("--") + flag +
                                ": got it in a simulation, which has no such thing");
  }
  for (const char* const file : {"output", "record-trace", "save-to"}) {
    if (!options.has(file)) continue;
    throw std::invalid_argument(std::string("--") + file +
                                ": got it in a simulation, which writes no rows, want run");
  }
  if (options.has("trace") && (options.flag("fast") || options.flag("numerics"))) {
    throw std::invalid_argument(std::string("--trace: got it with --") +
                                (options.flag("fast") ? "fast" : "numerics") +
                                ", want the simulation of time, rank by rank");
  }
  if (run.rebalance.on()) {
    throw std::invalid_argument("--rebalance: got " + run.rebalance.policy +
                                " in a simulation, whose experts stay, want off; place compare "
                                "tells what a policy gains");
  }
  if (run.layer.threads > 1) {
    throw std::invalid_argument("--threads-per-rank: got " + std::to_string(run.layer.threads) +
                                ", want 1 in a simulation: the machine says how fast a rank is");
  }
}
}  // namespace

std::vector<Option> simulate_options() {
  std::vector<Option> options = run_options();
  for (Option& option : options) {
    // Nothing is warmed up by a first step, and one step is like the other.
    if (option.name == "steps") option.fallback = "1";
    if (option.name == "warmup") option.fallback = "0";
    if (option.name == "trace-events") option.fallback = "4096";  // of each of many ranks
  }
  for (Option& option : std::vector<Option>{
           text_option("machine", "NAME|FILE", "a preset, by any unique beginning, or a file",
                       "cpu-100g"),
           integer_option("ranks", "COUNT", "to simulate; left out: as many as the machine has",
                          std::nullopt, {.least = 1, .most = 65536}),
           flag_option("fast",
                       "in closed form: all flows of a phase at once over the machine's routes; "
                       "for placements, and for ten thousand ranks"),
           flag_option("numerics",
                       "rows have contents: the output digest is that of a real run, and computing "
                       "takes no simulated time"),
           flag_option("no-compute", "computing takes no time: the network alone"),
           integer_option("of-layers", "COUNT",
                          "that the result is to stand for: those beyond --layers take the mean "
                          "time of those that are simulated; 0: none",
                          0, {.least = 0}),
           integer_option("window", "COUNT",
                          "frames under way at a time; left out: as in a real run, 4 of a relay "
                          "and 16 of p2p",
                          std::nullopt, {.least = 1, .most = 65536}),
           list_option("simgrid", "NAME:VALUE", "a setting of SimGrid's own"),
           flag_option("allow-floods", "transport p2p beyond 64 ranks"),
           flag_option("allow-poll-costs", "smpi/test and smpi/iprobe above 1e-6 s")}) {
    options.push_back(std::move(option));
  }
  for (Option& option : fast_options()) options.push_back(std::move(option));
  return options;
}

SimulateSettings simulate_settings(const Options& options) {
  SimulateSettings settings{
      .run = run_settings(options),
      .machine = options.text("machine"),
      .ranks = 0,
      .numerics = options.flag("numerics"),
      .compute = !options.flag("no-compute"),
      .window = options.has("window") ? static_cast<int>(options.integer("window")) : 0,
      .layers = options.integer("of-layers"),
      .simgrid = options.list("simgrid"),
      .what_if = options.list("what-if"),
      .trace = options.has("trace") ? options.text("trace") : ""};
  settings.fast = options.flag("fast");
  settings.links = static_cast<std::size_t>(options.integer("links"));
  if (settings.numerics && !settings.what_if.empty()) {
    throw std::invalid_argument("--what-if: got it with --numerics, which computes what is there");
  }
  if (settings.fast && !options.has("ranks")) {
    throw std::invalid_argument("--ranks: got none with --fast, want how many to estimate");
  }
  if (settings.fast && settings.numerics) {
    throw std::invalid_argument("--fast: got it with --numerics, want one of them");
  }
  if (options.has("ranks")) settings.ranks = static_cast<int>(options.integer("ranks"));
  require_simulated(settings.run, options);
  require_no_poll_costs(options);
  settings.run.layer.node_queue = false;
  if (settings.layers == 0) settings.layers = settings.run.layers;
  if (settings.layers < settings.run.layers) {
    throw std::invalid_argument("--of-layers: got " + std::to_string(settings.layers) +
                                ", want at least --layers, " + std::to_string(settings.run.layers));
  }
  if (settings.numerics && settings.window > 0) {
    throw std::invalid_argument("--window: got it with --numerics, which is a real run's");
  }
  if (settings.numerics && settings.layers > settings.run.layers) {
    throw std::invalid_argument("--of-layers: got it with --numerics, which computes all layers");
  }
  if (!settings.numerics && !settings.fast && settings.run.routing == "model") {
    throw std::invalid_argument(
        "--routing: got model, whose router needs rows with contents: want uniform, zipf:S or a "
        "trace, or --numerics");
  }
  return settings;
}

void settle_transport(const Options& options, int nodes, SimulateSettings& settings) {
  std::string& transport = settings.run.layer.transport;
  if (transport == "auto") transport = nodes > 1 ? "relay" : "p2p";
  if (transport != "p2p" && transport != "relay") {
    throw std::invalid_argument("--transport: got " + transport +
                                ", want relay or p2p: simulated ranks share no memory, and "
                                "collectives of MPI are a flat flood there");
  }
  settings.floods = options.flag("allow-floods");
  if (transport == "p2p") require_no_flood(settings, "--transport: got p2p");
}

void require_no_flood(const SimulateSettings& settings, const std::string& what) {
  if (settings.floods || settings.ranks <= kMostFlooding) return;
  const auto messages = std::int64_t{settings.ranks} * (settings.ranks - 1);
  throw std::invalid_argument(what + " for " + std::to_string(settings.ranks) + " ranks, whose " +
                              std::to_string(messages) +
                              " pairs flood the simulation, want relay on several nodes, or "
                              "--allow-floods");
}
}  // namespace switchyard::launch
