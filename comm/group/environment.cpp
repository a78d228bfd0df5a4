// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdlib>
#include <thread>

#include "comm/group/mpi_group.hpp"

namespace switchyard::comm {
namespace {
/// MPI may hang on the way out too, beside a launcher that hangs: the process ends all the same.
constexpr std::chrono::milliseconds kMostOfAnAbort{400};
}  // namespace

Environment::Environment() {
  int initialized = 0;
  check(MPI_Initialized(&initialized), "MPI_Initialized");
  if (initialized != 0) return;
  // What was provided is not looked at: one thread calls MPI, and a simulated MPI promises less.
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  owns_ = true;
}

Environment::~Environment() {
  if (owns_ && mpi_is_running()) MPI_Finalize();
}

void Environment::abort(int status) {
  std::thread([status] {
    std::this_thread::sleep_for(kMostOfAnAbort);
    std::_Exit(status);
  }).detach();
  if (mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);  // without MPI, or if it came back
}

void Environment::leave(int status) {
  std::_Exit(status);
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  check(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  // "Open MPI v4.1.4, package: ..." is one line; others go on for many.
  std::string version(text, static_cast<std::size_t>(length));
  version = version.substr(0, version.find_first_of(",\n"));
  if (const auto v = version.find(" v"); v != std::string::npos) version.erase(v + 1, 1);
  return version;
}
}  // namespace switchyard::comm
