// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/simulation.hpp"

#include <simgrid/s4u.hpp>
#include <simgrid/version.h>
#include <smpi/smpi.h>

#include "runtime/simulate/engine/waiting.hpp"

namespace switchyard::runtime {
namespace {
namespace s4u = simgrid::s4u;
constexpr const char* kName = "switchyard";

/// SimGrid's own defaults falsify: see README.md.
const std::vector<std::string> kSettings{
    "smpi/simulate-computation:no",  // host time is no simulated time
    "smpi/test:0",                   // a rank that waits sleeps (waiting.hpp)
    "smpi/iprobe:0",
    "smpi/wtime:0",
    "smpi/grow-injected-times:no",
    "smpi/send-is-detached-thresh:0",  // a message occupies its sender until it is through
    "smpi/bw-factor:0:1",              // not those of gigabit Ethernet
    "smpi/lat-factor:0:1",
    "network/TCP-gamma:0",
    "network/crosstraffic:0",
    "network/weight-S:0",
    "contexts/stack-size:512",
};
}  // namespace

struct Simulation::Parts {
  /// SimGrid reads its settings in this order and no other.
  explicit Parts(const std::vector<std::string>& settings)
      : words{"switchyard-sim", "--log=root.thresh:critical", "--log=no_loc"} {
    smpi_init_options();
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    argc = static_cast<int>(words.size());
    engine = std::make_unique<s4u::Engine>(&argc, argv.data());
    for (const std::string& setting : kSettings) s4u::Engine::set_config(setting);
    for (const std::string& setting : settings) s4u::Engine::set_config(setting);
  }
  std::vector<std::string> words;
  std::vector<char*> argv;
  int argc = 0;
  std::unique_ptr<s4u::Engine> engine;
  std::vector<s4u::Host*> hosts;
};

Simulation::Simulation(const SimulationOptions& options)
    : parts_(std::make_unique<Parts>(options.settings)) {
  s4u::NetZone* const star = s4u::create_star_zone("machine");
  for (int rank = 0; rank < options.ranks; ++rank) {
    s4u::Host* const host = star->create_host("rank" + std::to_string(rank), 1e9);
    auto* const link = star->create_split_duplex_link("link" + std::to_string(rank), 25e9);
    link->set_latency(1e-6);
    const s4u::LinkInRoute out(link, s4u::LinkInRoute::Direction::UP);
    const s4u::LinkInRoute in(link, s4u::LinkInRoute::Direction::DOWN);
    star->add_route(host->get_netpoint(), nullptr, nullptr, nullptr, {out}, false);
    star->add_route(nullptr, host->get_netpoint(), nullptr, nullptr, {in}, false);
    parts_->hosts.push_back(host);
  }
  star->seal();
  SMPI_init();
}

Simulation::~Simulation() = default;

void Simulation::run(const std::function<void(int rank)>& body,
                     const std::function<void()>& stuck) {
  const int ranks = static_cast<int>(parts_->hosts.size());
  s4u::Engine::on_deadlock_cb(stuck);
  SMPI_app_instance_register(kName, nullptr, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const s4u::ActorPtr actor = s4u::Actor::init("rank" + std::to_string(rank),
                                                 parts_->hosts[static_cast<std::size_t>(rank)]);
    actor->set_property("instance_id", kName);
    actor->set_property("rank", std::to_string(rank));
    actor->start([&body, rank] {
      OpenMessages open;
      int argc = 0;
      char** argv = nullptr;
      MPI_Init(&argc, &argv);
      smpi_process_set_user_data(&open);
      body(rank);
      smpi_process_set_user_data(nullptr);
      MPI_Finalize();
    });
  }
  parts_->engine->run();
  SMPI_finalize();
}

double Simulation::now() {
  return s4u::Engine::get_clock();
}

void Simulation::compute(double seconds) {
  if (seconds > 0) smpi_execute(seconds);
}

std::string Simulation::version() {
  return std::to_string(SIMGRID_VERSION_MAJOR) + "." + std::to_string(SIMGRID_VERSION_MINOR);
}
}  // namespace switchyard::runtime
