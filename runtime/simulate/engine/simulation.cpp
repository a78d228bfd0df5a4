// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/simulation.hpp"

#include <algorithm>
#include <optional>
#include <simgrid/kernel/resource/NetworkModelIntf.hpp>
#include <simgrid/s4u.hpp>
#include <simgrid/version.h>
#include <smpi/smpi.h>
#include <unordered_map>

#include "comm/base/hollow.hpp"
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
/// Rows without contents have nothing to copy.
void copy_message(smx_activity_t message, void* from, size_t bytes) {
  if (comm::is_hollow(from)) return;
  // Its class is not in the installed headers; it derives from this one and nothing else.
  smpi_comm_copy_buffer_callback(reinterpret_cast<simgrid::kernel::activity::CommImpl*>(message),
                                 from, bytes);
}

/// Latency and rate of a message by its size, where the machine has protocols.
void set_size_steps(const Machine& machine, const Platform& platform) {
  if (std::ranges::all_of(machine.tiers, [](const TierCost& cost) { return cost.steps.empty(); })) {
    return;
  }
  auto rank_of = std::make_shared<std::unordered_map<const s4u::Host*, int>>();
  for (const s4u::Host* host : platform.hosts()) {
    rank_of->emplace(host, static_cast<int>(rank_of->size()));
  }
  const auto cost_of = [&machine, rank_of ](const s4u::Host* from, const s4u::Host* to) -> auto& {
    const Tier tier = machine.tier_of(rank_of->at(from), rank_of->at(to));
    return machine.cost(std::min(tier, Tier::kRack));
  };
  auto* const model = s4u::Engine::get_instance()->get_netzone_root()->get_network_model();
  model->set_lat_factor_cb(
      [cost_of](double size, const s4u::Host* from, const s4u::Host* to, const auto&, const auto&) {
        const TierCost& cost = cost_of(from, to);
        if (cost.latency_s <= 0) return 1.0;
        return cost.latency_of(static_cast<std::int64_t>(size)) / cost.latency_s;
      });
  model->set_bw_factor_cb(
      [cost_of](double size, const s4u::Host* from, const s4u::Host* to, const auto&, const auto&) {
        const TierCost& cost = cost_of(from, to);
        return cost.bandwidth_of(static_cast<std::int64_t>(size)) / cost.bytes_per_s;
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
};

Simulation::Simulation(const Machine& machine, const SimulationOptions& options)
    : parts_(std::make_unique<Parts>(machine, options)) {
  parts_->platform.emplace(machine);
  set_size_steps(machine, *parts_->platform);
  SMPI_init();
  smpi_comm_set_copy_data_callback(copy_message);
}

Simulation::~Simulation() = default;

void Simulation::run(const std::function<void(int rank)>& body,
                     const std::function<void()>& stuck) {
  const int ranks = parts_->ranks;
  const Machine& machine = parts_->machine;
  s4u::Engine::on_deadlock_cb(stuck);
  SMPI_app_instance_register(kName, nullptr, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const s4u::ActorPtr actor = s4u::Actor::init(
        "rank" + std::to_string(rank), parts_->platform->hosts()[static_cast<std::size_t>(rank)]);
    actor->set_property("instance_id", kName);
    actor->set_property("rank", std::to_string(rank));
    actor->start([&body, &machine, rank] {
      OpenMessages open(machine, rank);
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

const Platform& Simulation::platform() const {
  return *parts_->platform;
}

double Simulation::now() {
  return s4u::Engine::get_clock();
}

void Simulation::compute(double seconds) {
  if (seconds > 0) s4u::this_actor::sleep_for(seconds);
}

std::string Simulation::version() {
  return std::to_string(SIMGRID_VERSION_MAJOR) + "." + std::to_string(SIMGRID_VERSION_MINOR);
}
}  // namespace switchyard::runtime
