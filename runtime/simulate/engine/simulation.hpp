// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Ranks as actors of SimGrid in one process, each with an MPI of its own (SMPI). Nothing of
/// SimGrid shows here.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/simulate/engine/causes.hpp"
#include "runtime/simulate/engine/platform.hpp"
#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

struct SimulationOptions {
  int ranks = 1;  ///< at most those of the machine
  /// "NAME:VALUE" of SimGrid's own settings, after ours.
  std::vector<std::string> settings = {};
  bool carries = true;  ///< false: nothing will run, only routes are asked for
};

/// One a process, for SimGrid has one engine.
class Simulation {
 public:
  /// @param machine  outlives this
  Simulation(const Machine& machine, const SimulationOptions& options);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  /// Calls `body` once a rank, all of them side by side in simulated time, until all have returned.
  /// MPI is there to be started. An exception may not leave it.
  /// @param stuck  called where no rank can go on; may not return
  void run(const std::function<void(int rank)>& body, const std::function<void()>& stuck);

  /// Simulated seconds since the beginning.
  [[nodiscard]] static double now();
  /// The fabric as SimGrid knows it.
  [[nodiscard]] const Platform& platform() const;
  /// This rank computes for so long.
  static void compute(double seconds);
  /// What this rank is at from here on, a literal.
  static void enters(std::string_view phase);
  /// Of the rank that ended last, after run().
  [[nodiscard]] std::vector<Cause> critical_path() const;
  /// Flows of the network so far.
  [[nodiscard]] std::int64_t flows() const;
  /// "3.32"
  [[nodiscard]] static std::string version();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};
}  // namespace switchyard::runtime
