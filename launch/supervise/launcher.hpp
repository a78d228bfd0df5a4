// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// mpirun: where it is, whether it may be started, and how.
#include <filesystem>
#include <string>
#include <vector>

namespace switchyard::launch {

/// @param who   the command that asks, for messages: "supervise"
/// @param name  a program in PATH, or with a slash a file
/// @throws std::invalid_argument  "supervise: mpirun is not in PATH, want Open MPI's (...)"
[[nodiscard]] std::string find_launcher(const std::string& who, const std::string& name);

/// @throws std::invalid_argument  this is root, and mpirun would refuse
void require_root_opted_in(const std::string& who);

/// mpirun, up to where its further options and the program stand: all that it and its ranks write
/// beside results goes to `place`.
[[nodiscard]] std::vector<std::string> launcher_words(const std::string& launcher,
                                                      const std::filesystem::path& place,
                                                      int ranks);
}  // namespace switchyard::launch
