// SPDX-License-Identifier: Apache-2.0
// How a simulated rank calls MPI, waits and asks for the time. The linker turns every use of these
// names in the program into one of the functions here (-Wl,--wrap, see CMakeLists.txt); the real
// ones get another name.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>
#include <mpi.h>
#include <simgrid/s4u.hpp>
#include <smpi/smpi.h>
#include <stdexcept>
#include <string>

#include "runtime/simulate/engine/post.hpp"

extern "C" {
int __real_MPI_Isend(const void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __real_MPI_Irecv(void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __real_MPI_Test(MPI_Request*, int*, MPI_Status*);
int __real_MPI_Iprobe(int, int, MPI_Comm, int*, MPI_Status*);
int __real_MPI_Comm_dup(MPI_Comm, MPI_Comm*);
int __real_sched_yield();
int __real_nanosleep(const timespec*, timespec*);
}
std::chrono::steady_clock::time_point real_now() asm("__real__ZNSt6chrono3_V212steady_clock3nowEv");

using switchyard::runtime::Address;
using switchyard::runtime::Desk;
using switchyard::runtime::Part;

namespace {
std::int64_t bytes_of(int count, MPI_Datatype type) {
  int size = 1;
  MPI_Type_size(type, &size);
  const std::int64_t bytes = std::int64_t{size} * count;
  if (bytes > std::numeric_limits<int>::max()) {
    throw std::length_error("simulate: a message of " + std::to_string(bytes) +
                            " bytes, want at most 2147483647: fewer --tokens");
  }
  return bytes;
}

Address address_of(const Desk& desk, int peer, int tag, MPI_Comm group) {
  const auto found = std::ranges::find(desk.groups, group);
  if (found == desk.groups.end()) {
    throw std::logic_error("simulate: a message in a communicator that MPI_Comm_dup did not make");
  }
  return {.peer = peer, .tag = tag, .group = static_cast<int>(found - desk.groups.begin())};
}

void set_status(MPI_Status* status, const Address& from, std::int64_t bytes) {
  if (status == MPI_STATUS_IGNORE) return;
  *status = {};
  status->MPI_SOURCE = from.peer;
  status->MPI_TAG = from.tag;
  status->MPI_ERROR = MPI_SUCCESS;
  status->count = static_cast<int>(bytes);
}
}  // namespace

extern "C" {
int __wrap_MPI_Isend(const void* from, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                     MPI_Request* request) {
  Desk* const desk = Desk::mine();
  if (desk == nullptr) return __real_MPI_Isend(from, count, type, to, tag, comm, request);
  Part* const part = desk->send(from, bytes_of(count, type), address_of(*desk, to, tag, comm));
  *request = reinterpret_cast<MPI_Request>(part);
  return MPI_SUCCESS;
}

int __wrap_MPI_Irecv(void* to, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
                     MPI_Request* request) {
  Desk* const desk = Desk::mine();
  if (desk == nullptr) return __real_MPI_Irecv(to, count, type, from, tag, comm, request);
  Part* const part = desk->receive(to, bytes_of(count, type), address_of(*desk, from, tag, comm));
  *request = reinterpret_cast<MPI_Request>(part);
  return MPI_SUCCESS;
}

int __wrap_MPI_Test(MPI_Request* request, int* done, MPI_Status* status) {
  Desk* const desk = Desk::mine();
  if (desk == nullptr || *request == MPI_REQUEST_NULL)
    return __real_MPI_Test(request, done, status);
  const Desk::Through through = desk->test(reinterpret_cast<Part*>(*request));
  *done = through.yes ? 1 : 0;
  if (!through.yes) return MPI_SUCCESS;
  *request = MPI_REQUEST_NULL;
  set_status(status, through.from, through.bytes);
  return through.truncated ? MPI_ERR_TRUNCATE : MPI_SUCCESS;
}

int __wrap_MPI_Iprobe(int from, int tag, MPI_Comm comm, int* found, MPI_Status* status) {
  Desk* const desk = Desk::mine();
  if (desk == nullptr) return __real_MPI_Iprobe(from, tag, comm, found, status);
  const Address address = address_of(*desk, from, tag, comm);
  const std::int64_t bytes = desk->first_unasked(address);
  *found = bytes >= 0 ? 1 : 0;
  if (bytes >= 0) set_status(status, address, bytes);
  return MPI_SUCCESS;
}

int __wrap_MPI_Comm_dup(MPI_Comm comm, MPI_Comm* made) {
  const int code = __real_MPI_Comm_dup(comm, made);
  Desk* const desk = Desk::mine();
  if (code == MPI_SUCCESS && desk != nullptr) desk->groups.push_back(*made);
  return code;
}

int __wrap_sched_yield() {
  Desk* const desk = Desk::mine();
  if (desk == nullptr) return __real_sched_yield();
  desk->sleep();
  return 0;
}

int __wrap_nanosleep(const timespec* time, timespec* left) {
  Desk* const desk = Desk::mine();
  if (desk == nullptr) return __real_nanosleep(time, left);
  desk->pass(static_cast<double>(time->tv_sec) + static_cast<double>(time->tv_nsec) * 1e-9);
  return 0;
}
}

/// The clock of deadlines and phases: simulated time for whoever is simulated.
std::chrono::steady_clock::time_point simulated_now() asm(
    "__wrap__ZNSt6chrono3_V212steady_clock3nowEv");
std::chrono::steady_clock::time_point simulated_now() {
  if (!simgrid::s4u::Engine::has_instance() || simgrid::s4u::this_actor::get_pid() == 0) {
    return real_now();
  }
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(simgrid::s4u::Engine::get_clock())));
}
