// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// MPI: the environment of a process and the group over a communicator. The door to mpi.h.
#include <mpi.h>

#include <chrono>
#include <memory>
#include <string>

#include "comm/group.hpp"

namespace switchyard::comm {

inline constexpr std::chrono::seconds kDefaultDeadline{60};

/// MPI_Init_thread(FUNNELED) and MPI_Finalize, for programs that are ours. A library user who has
/// called MPI_Init never needs it.
class Environment {
 public:
  Environment();
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// Ends the job at once with this status; does not return. For the top of a program.
  [[noreturn]] static void abort(int status);
};

/// "Open MPI 4.1.4"; needs no MPI_Init.
[[nodiscard]] std::string mpi_version();

/// A group over its own duplicate of a communicator (freed with it, errors returned).
class MpiGroup final : public Group {
 public:
  /// Collective over `parent`, which stays the caller's.
  explicit MpiGroup(MPI_Comm parent, std::chrono::milliseconds limit = kDefaultDeadline);
  /// Everyone.
  static std::unique_ptr<MpiGroup> world(std::chrono::milliseconds limit = kDefaultDeadline);
  ~MpiGroup() override;

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] Pending send(int to, Channel channel, Buffer buffer, Extent extent) override;
  [[nodiscard]] Pending receive(int from, Channel channel, Buffer buffer, Extent extent) override;
  [[nodiscard]] MPI_Comm handle() const { return comm_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
};
}  // namespace switchyard::comm
