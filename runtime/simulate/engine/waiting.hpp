// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How a simulated rank waits. On a real machine comm asks MPI again and again whether a message is
/// through (MPI_Test) and gives the processor away in between; here nothing can change between two
/// questions unless simulated time passes, so a question costs nothing, and giving the processor
/// away means to sleep until one of this rank's messages is through.
#include <mpi.h>
#include <vector>

#include "runtime/simulate/machine.hpp"

namespace switchyard::runtime {

/// The open messages of one rank. What MPI_Isend and MPI_Irecv hand to the program is an entry of
/// it, and MPI_Test asks the entry.
class OpenMessages {
 public:
  /// @param machine  outlives this
  OpenMessages(const Machine& machine, int rank) : machine_(machine), rank_(rank) {}
  ~OpenMessages();
  OpenMessages(const OpenMessages&) = delete;
  OpenMessages& operator=(const OpenMessages&) = delete;

  /// @param peer  who sends, if it is one that this rank receives
  /// @return      what stands for this request from now on
  [[nodiscard]] MPI_Request add(MPI_Request request, int peer);
  /// What a message with this rank costs the processor at one end.
  void pay(int peer) const;
  /// As MPI_Test.
  int test(MPI_Request* handle, int* done, MPI_Status* status);
  /// Sleeps until one is through; a while if there are none. Returns at once if any was begun or
  /// found to be through since the last time: the rank may have more to begin because of it.
  void sleep();

  /// Of the rank that calls; null outside of any.
  [[nodiscard]] static OpenMessages* mine();

 private:
  struct Entry {
    std::size_t place = 0;  ///< in open_
    bool done = false;
    int peer = -1;  ///< of one to be received
    MPI_Status status{};
  };
  void finish(Entry& entry);

  const Machine& machine_;
  int rank_;
  std::vector<MPI_Request> open_;  ///< as SMPI knows them
  std::vector<Entry*> entries_;    ///< of each
  std::vector<Entry*> spare_;
  bool moved_ = false;     ///< one was begun, or found to be through, since the last sleep
  double looked_at_ = -1;  ///< simulated time at which every open one was known not to be through
};
}  // namespace switchyard::runtime
