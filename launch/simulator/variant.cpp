// SPDX-License-Identifier: Apache-2.0
#include "launch/simulator/variant.hpp"

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include "launch/commands/run_report.hpp"
#include "launch/terminal.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
// Bytes a second of a network that takes no time.
constexpr double kAtOnce = 1e18;

void change(const std::string& name, SimulateSettings& settings, runtime::Machine& machine) {
  std::string& transport = settings.run.layer.transport;
  const std::string before = transport;
  if (name == "perfect-balance") {
    settings.balanced = true;
    settings.run.routing = "uniform";
  } else if (name == "infinite-network") {
    for (runtime::TierCost& cost : machine.tiers) cost = {.bytes_per_s = kAtOnce};
    machine.dispatch_s = machine.combine_s = 0;
  } else if (name == "no-deduplication") {
    settings.deduplicate = false;
  } else if (name == "one-level") {
    transport = "p2p";
    require_no_flood(settings, "--what-if: got one-level");
  } else if (name == "two-level" || name == "relay") {
    transport = "relay";
  } else {
    settings.run.placement = name;
  }
  if (transport != before) settings.window = 0;  // as in a real run over the other
}

std::string read_all(int descriptor) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(descriptor, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
  }
}

void write_all(int descriptor, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t put = ::write(descriptor, text.data() + done, text.size() - done);
    if (put < 0 && errno != EINTR) return;  // whoever reads finds it too short
    if (put > 0) done += static_cast<std::size_t>(put);
  }
}

[[noreturn]] void play(const SimulateSettings& settings, const runtime::Machine& machine,
                       int descriptor) {
  int status = runtime::kDone;
  try {
    const Faithful all = simulate(settings, machine);
    const nlohmann::ordered_json said{{"step_s", step_seconds(all)},
                                      {"phases", run_json(all.result)["phases"]}};
    write_all(descriptor, said.dump());
  } catch (const std::exception& error) {
    Reporter().error(error.what());
    status = runtime::status_of(error);
  }
  std::_Exit(status);
}
}  // namespace

WhatIf simulate_variant(const std::string& name, SimulateSettings settings,
                        runtime::Machine machine) {
  change(name, settings, machine);
  int ends[2];
  if (::pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "--what-if: pipe");
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "--what-if: fork");
  if (child == 0) {
    ::close(ends[0]);
    play(settings, machine, ends[1]);
  }
  ::close(ends[1]);
  const std::string text = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status)) {
    throw std::runtime_error("--what-if: " + name + " was ended by signal " +
                             std::to_string(WTERMSIG(status)));
  }
  if (WEXITSTATUS(status) != 0) std::_Exit(WEXITSTATUS(status));  // it has said why
  const auto said = nlohmann::ordered_json::parse(text);
  return {.name = name, .step_s = said.at("step_s").get<double>(), .phases = said.at("phases")};
}
}  // namespace switchyard::launch
