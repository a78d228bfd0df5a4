// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The frame around every command: parse, agree, run, and leave with one message and one status.
#include <string>
#include <vector>

#include "launch/command.hpp"

namespace switchyard::launch {

/// What a supervisor tells the ranks that it starts: memory for their positions, and how often it
/// has started them before.
inline constexpr const char* kBoardVariable = "SWITCHYARD_BOARD";
inline constexpr const char* kIncarnationVariable = "SWITCHYARD_INCARNATION";

/// This process among those that a launcher started, as its environment says, before MPI.
struct Launched {
  bool by_launcher = false;  ///< mpirun, srun or alike
  int rank = 0;
};
[[nodiscard]] Launched launched_as(const std::vector<std::string>& environment);

/// Runs one command and returns the exit status: 0 done, 1 a check failed, 2 usage or data, 70
/// internal, 74 I/O, 75 temporary. With MPI, problems that all ranks can know about are agreed upon
/// and end in one message from rank 0 and an orderly finalize; anything else ends the job at once
/// with the status of its kind. Without MPI, of the processes of a launcher rank 0 does everything
/// and the others nothing.
/// @param args  what follows the command's name
[[nodiscard]] int guarded_main(const Command& command, const std::vector<std::string>& args,
                               const std::vector<std::string>& environment);
}  // namespace switchyard::launch
