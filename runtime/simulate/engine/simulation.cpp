// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/simulation.hpp"

#include <algorithm>
#include <optional>
#include <simgrid/kernel/resource/NetworkModelIntf.hpp>
#include <simgrid/s4u.hpp>
#include <simgrid/version.h>
#include <smpi/smpi.h>
#include <unordered_map>

#include "runtime/simulate/engine/post.hpp"

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
    "network/TCP-gamma:0",
    "network/crosstraffic:0",
    "network/weight-S:0",
    "contexts/stack-size:512",
};

/// Latency and rate of a message by its size and its route; instead of SimGrid's factors of TCP on
/// gigabit Ethernet (latency x 13.01, rate x 0.97).
void set_factors(const Platform& platform) {
  auto rank_of = std::make_shared<std::unordered_map<const s4u::Host*, int>>();
  for (const s4u::Host* host : platform.hosts()) {
    rank_of->emplace(host, static_cast<int>(rank_of->size()));
  }
  auto* const model = s4u::Engine::get_instance()->get_netzone_root()->get_network_model();
  model->set_lat_factor_cb([&platform, rank_of](double size, const s4u::Host* from,
                                                const s4u::Host* to, const auto&, const auto&) {
    return platform.latency_factor(rank_of->at(from), rank_of->at(to),
                                   static_cast<std::int64_t>(size));
  });
  model->set_bw_factor_cb([&platform, rank_of](double size, const s4u::Host* from,
                                               const s4u::Host* to, const auto&, const auto&) {
    return platform.bandwidth_factor(rank_of->at(from), rank_of->at(to),
                                     static_cast<std::int64_t>(size));
  });
}
}  // namespace

struct Simulation::Parts {
  /// SimGrid reads its settings in this order and no other.
  Parts(const Machine& of_machine, const SimulationOptions& options)
      : machine(of_machine),
        ranks(options.ranks),
        words{"switchyard-sim", "--log=root.thresh:critical", "--log=no_loc"} {
    smpi_init_options();
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    argc = static_cast<int>(words.size());
    engine = std::make_unique<s4u::Engine>(&argc, argv.data());
    for (const std::string& setting : kSettings) s4u::Engine::set_config(setting);
    for (const std::string& setting : options.settings) s4u::Engine::set_config(setting);
  }
  const Machine& machine;
  int ranks;
  std::vector<std::string> words;
  std::vector<char*> argv;
  int argc = 0;
  std::unique_ptr<s4u::Engine> engine;
  std::optional<Platform> platform;
  std::optional<Post> post;
};

Simulation::Simulation(const Machine& machine, const SimulationOptions& options)
    : parts_(std::make_unique<Parts>(machine, options)) {
  parts_->platform.emplace(machine, options.carries);
  if (!options.carries) return;
  set_factors(*parts_->platform);
  SMPI_init();
  parts_->post.emplace(machine, parts_->platform->hosts());
}

Simulation::~Simulation() = default;

void Simulation::run(const std::function<void(int rank)>& body,
                     const std::function<void()>& stuck) {
  const int ranks = parts_->ranks;
  s4u::Engine::on_deadlock_cb(stuck);
  SMPI_app_instance_register(kName, nullptr, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const s4u::ActorPtr actor = s4u::Actor::init(
        "rank" + std::to_string(rank), parts_->platform->hosts()[static_cast<std::size_t>(rank)]);
    actor->set_property("instance_id", kName);
    actor->set_property("rank", std::to_string(rank));
    actor->start([&body, this, rank] {
      Desk desk(*parts_->post, rank);
      int argc = 0;
      char** argv = nullptr;
      MPI_Init(&argc, &argv);
      desk.groups = {MPI_COMM_WORLD};
      smpi_process_set_user_data(&desk);
      body(rank);
      smpi_process_set_user_data(nullptr);
      desk.leave();
      MPI_Finalize();
    });
  }
  parts_->engine->run();
  SMPI_finalize();
}

const Platform& Simulation::platform() const {
  return *parts_->platform;
}

double Simulation::now() {
  return s4u::Engine::get_clock();
}

void Simulation::compute(double seconds) {
  if (Desk* const desk = Desk::mine(); desk != nullptr) desk->pass(seconds);
}

void Simulation::enters(std::string_view phase) {
  if (Desk* const desk = Desk::mine(); desk != nullptr) desk->enters(phase);
}

std::vector<Cause> Simulation::critical_path() const {
  return parts_->post->last_cause().path();
}

std::int64_t Simulation::flows() const {
  return parts_->post->flows();
}

std::string Simulation::version() {
  return std::to_string(SIMGRID_VERSION_MAJOR) + "." + std::to_string(SIMGRID_VERSION_MINOR);
}
}  // namespace switchyard::runtime
