// SPDX-License-Identifier: Apache-2.0
#include "launch/supervise/launcher.hpp"

#include <cstdlib>
#include <stdexcept>
#include <unistd.h>

namespace switchyard::launch {
namespace {
std::string text_of_variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}
}  // namespace

std::string find_launcher(const std::string& who, const std::string& name) {
  if (name.find('/') != std::string::npos) {
    if (::access(name.c_str(), X_OK) == 0) return name;
    throw std::invalid_argument("--mpirun: got " + name + ", want a program that can be run");
  }
  std::string path = text_of_variable("PATH");
  while (!path.empty()) {
    const std::size_t colon = path.find(':');
    const std::filesystem::path file = std::filesystem::path(path.substr(0, colon)) / name;
    if (::access(file.c_str(), X_OK) == 0) return file.string();
    path = colon == std::string::npos ? "" : path.substr(colon + 1);
  }
  throw std::invalid_argument(who + ": " + name +
                              " is not in PATH, want Open MPI's (Debian: openmpi-bin)");
}

void require_root_opted_in(const std::string& who) {
  if (::geteuid() != 0) return;
  if (text_of_variable("OMPI_ALLOW_RUN_AS_ROOT") == "1" &&
      text_of_variable("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") == "1") {
    return;
  }
  throw std::invalid_argument(
      who +
      ": mpirun refuses to run as root, want another user, or both variables "
      "OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 if root is meant");
}

std::vector<std::string> launcher_words(const std::string& launcher,
                                        const std::filesystem::path& place, int ranks) {
  // Without the pause between its signals mpirun ends a job in hundredths of a second.
  return {launcher,
          "--mca",
          "odls_base_sigkill_timeout",
          "0",
          "--mca",
          "orte_tmpdir_base",
          place.string(),
          "--mca",
          "btl_vader_backing_directory",
          place.string(),
          "-n",
          std::to_string(ranks)};
}
}  // namespace switchyard::launch
