// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a command is, and the table of all of them. One file a command in commands/.
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "comm/group/group.hpp"
#include "comm/wire/handshake.hpp"
#include "launch/json_output.hpp"
#include "launch/options.hpp"
#include "launch/terminal.hpp"

namespace switchyard::runtime {
class FaultInjector;
}

namespace switchyard::launch {

/// What a command works with. Lives as long as the command runs.
struct Context {
  const Options& options;
  std::ostream& out;  ///< results: stdout on rank 0 (nowhere with --json -), nowhere elsewhere
  const Reporter& reporter;                  ///< everything else: stderr, the rank in front
  JsonOutput& json;                          ///< wanted() on rank 0 only, if --json was given
  comm::Group* ranks = nullptr;              ///< only if the command needs MPI
  runtime::FaultInjector* faults = nullptr;  ///< only if something is to go wrong on purpose
  nlohmann::ordered_json header = {};        ///< what every JSON result begins with
  /// To be set where ranks may be gone: this process flushes and leaves with its own status,
  /// without a word to the others and without MPI_Finalize.
  bool leaves_alone = false;
  /// Tells whoever watches over the ranks that one may end, and the job go on; empty without MPI.
  std::function<void()> let_ranks_end = {};

  [[nodiscard]] comm::Group& group() const;  ///< @throws std::logic_error  without MPI
  [[nodiscard]] bool first() const { return ranks == nullptr || ranks->rank() == 0; }
};

/// Options and positionals are checked, and equal on all ranks, before `run` is called.
struct Command {
  std::string name;     ///< "run"; "models show" is the command of two words
  std::string summary;  ///< one line
  bool needs_mpi = false;
  std::vector<Option> options;  ///< beside the standard ones (standard_options)
  Positionals positionals = {};

  bool faults = false;  ///< takes --inject, a plan of faults (runtime/faults/plan.hpp)

  /// Optional: finds out, before the ranks talk, what is wrong with the settings together (a model
  /// that does not exist) by throwing, and returns what else must be equal everywhere.
  std::vector<comm::Field> (*prepare)(const Options&) = nullptr;

  /// Does it, and returns the exit status: the highest of all ranks is the program's. May throw
  /// anything; one that every rank throws alike belongs in runtime::together.
  int (*run)(Context&) = nullptr;

  /// Its own options and those that every command has.
  [[nodiscard]] Syntax syntax() const;
};

/// --config, --deadline (with MPI) and --json.
[[nodiscard]] std::vector<Option> standard_options(bool needs_mpi);

/// Every command, in the order of the help.
[[nodiscard]] std::vector<Command> commands();
}  // namespace switchyard::launch
