// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/waiting.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>
#include <simgrid/s4u.hpp>
#include <smpi/smpi.h>
#include <stdexcept>
#include <string>
#include <utility>

#include "comm/base/hollow.hpp"

// The linker turns every use of these names in the program into one of the functions at the end
// (-Wl,--wrap, see CMakeLists.txt); the real ones get another name.
extern "C" {
int __real_MPI_Isend(const void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __real_MPI_Irecv(void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __real_MPI_Test(MPI_Request*, int*, MPI_Status*);
int __real_sched_yield();
int __real_nanosleep(const timespec*, timespec*);
}
std::chrono::steady_clock::time_point real_now() asm("__real__ZNSt6chrono3_V212steady_clock3nowEv");

namespace switchyard::runtime {
namespace {
// Longer than anything a rank without messages can be waiting for: only a planned hang does.
constexpr double kIdle = 1e-3;

}  // namespace

static bool is_actor() {
  return simgrid::s4u::Engine::has_instance() && simgrid::s4u::this_actor::get_pid() != 0;
}

OpenMessages* OpenMessages::mine() {
  if (!is_actor()) return nullptr;
  return static_cast<OpenMessages*>(smpi_process_get_user_data());
}

OpenMessages::~OpenMessages() {
  for (const Entry* entry : entries_) delete entry;
  for (const Entry* entry : spare_) delete entry;
}

void OpenMessages::pay(int peer) const {
  const Tier tier = std::min(machine_.tier_of(rank_, peer), Tier::kRack);
  const double seconds = machine_.cost(tier).message_s;
  if (seconds > 0) simgrid::s4u::this_actor::sleep_for(seconds);
}

MPI_Request OpenMessages::add(MPI_Request request, int peer) {
  Entry* entry = nullptr;
  if (spare_.empty()) {
    entry = new Entry();
  } else {
    entry = spare_.back();
    spare_.pop_back();
  }
  *entry = {.place = open_.size(), .peer = peer};
  moved_ = true;
  open_.push_back(request);
  entries_.push_back(entry);
  return reinterpret_cast<MPI_Request>(entry);
}

void OpenMessages::finish(Entry& entry) {
  entry.done = true;
  const std::size_t hole = entry.place;
  open_[hole] = open_.back();
  entries_[hole] = entries_.back();
  entries_[hole]->place = hole;
  open_.pop_back();
  entries_.pop_back();
}

int OpenMessages::test(MPI_Request* handle, int* done, MPI_Status* status) {
  auto* const entry = reinterpret_cast<Entry*>(*handle);
  int code = MPI_SUCCESS;
  *done = 0;
  if (!entry->done && simgrid::s4u::Engine::get_clock() > looked_at_) {
    int through = 0;
    code = __real_MPI_Test(&open_[entry->place], &through, &entry->status);
    if (through != 0) finish(*entry);
  }
  if (!entry->done) return code;
  moved_ = true;
  *done = 1;
  if (status != MPI_STATUS_IGNORE) *status = entry->status;
  *handle = MPI_REQUEST_NULL;
  spare_.push_back(entry);
  return code;
}

void OpenMessages::sleep() {
  if (std::exchange(moved_, false)) return;
  if (open_.empty()) {
    simgrid::s4u::this_actor::sleep_for(kIdle);
    return;
  }
  int index = MPI_UNDEFINED;
  MPI_Status status{};
  MPI_Waitany(static_cast<int>(open_.size()), open_.data(), &index, &status);
  // Whatever else is through by now is found by the next call, at the same time.
  looked_at_ = simgrid::s4u::Engine::get_clock();
  if (index == MPI_UNDEFINED) return;
  Entry& entry = *entries_[static_cast<std::size_t>(index)];
  entry.status = status;
  const int peer = entry.peer;
  finish(entry);
  if (peer >= 0) pay(peer);
}
}  // namespace switchyard::runtime

using switchyard::runtime::OpenMessages;

namespace {
/// SMPI packs rows of a type of ours before it sends them; those without contents are bytes.
void as_bytes_if_hollow(const void* memory, int& count, MPI_Datatype& type) {
  if (!switchyard::comm::is_hollow(memory)) return;
  int size = 1;
  MPI_Type_size(type, &size);
  const std::int64_t bytes = std::int64_t{size} * count;
  if (bytes > std::numeric_limits<int>::max()) {
    throw std::length_error("simulate: a message of " + std::to_string(bytes) +
                            " bytes, want at most 2147483647: fewer --tokens");
  }
  count = static_cast<int>(bytes);
  type = MPI_BYTE;
}
}  // namespace

extern "C" {
int __wrap_MPI_Isend(const void* from, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
                     MPI_Request* request) {
  OpenMessages* const open = OpenMessages::mine();
  if (open != nullptr) open->pay(to);
  as_bytes_if_hollow(from, count, type);
  const int code = __real_MPI_Isend(from, count, type, to, tag, comm, request);
  if (code == MPI_SUCCESS && open != nullptr) *request = open->add(*request, -1);
  return code;
}

int __wrap_MPI_Irecv(void* to, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
                     MPI_Request* request) {
  as_bytes_if_hollow(to, count, type);
  const int code = __real_MPI_Irecv(to, count, type, from, tag, comm, request);
  OpenMessages* const open = OpenMessages::mine();
  if (code == MPI_SUCCESS && open != nullptr) *request = open->add(*request, from);
  return code;
}

int __wrap_MPI_Test(MPI_Request* request, int* done, MPI_Status* status) {
  OpenMessages* const open = OpenMessages::mine();
  if (open == nullptr || *request == MPI_REQUEST_NULL)
    return __real_MPI_Test(request, done, status);
  return open->test(request, done, status);
}

int __wrap_sched_yield() {
  OpenMessages* const open = OpenMessages::mine();
  if (open == nullptr) return __real_sched_yield();
  open->sleep();
  return 0;
}

int __wrap_nanosleep(const timespec* time, timespec* left) {
  if (OpenMessages::mine() == nullptr) return __real_nanosleep(time, left);
  simgrid::s4u::this_actor::sleep_for(static_cast<double>(time->tv_sec) +
                                      static_cast<double>(time->tv_nsec) * 1e-9);
  return 0;
}
}

/// The clock of deadlines and phases: simulated time for whoever is simulated.
std::chrono::steady_clock::time_point simulated_now() asm(
    "__wrap__ZNSt6chrono3_V212steady_clock3nowEv");
std::chrono::steady_clock::time_point simulated_now() {
  if (!switchyard::runtime::is_actor()) return real_now();
  return std::chrono::steady_clock::time_point(
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(
          std::chrono::duration<double>(simgrid::s4u::Engine::get_clock())));
}
