// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// MPI: the environment of a process and the group over a communicator. The door to mpi.h.
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mpi.h>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "comm/group/mpi_handle.hpp"

namespace switchyard::comm {

inline constexpr std::chrono::seconds kDefaultDeadline{60};

/// MPI_Init_thread(FUNNELED) and MPI_Finalize, for programs that are ours. A library user who has
/// called MPI_Init never needs it; if there is one all the same, it leaves MPI running.
class Environment {
 public:
  Environment();
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  /// Ends the job at once with this status; does not return. For the top of a program.
  [[noreturn]] static void abort(int status);
  /// Ends this process at once with this status, and no other: where MPI_Finalize would wait for
  /// ranks that are no more. What is in buffers of streams is not written.
  [[noreturn]] static void leave(int status);

 private:
  bool owns_ = false;  ///< this object called MPI_Init and will call MPI_Finalize
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
  [[nodiscard]] Pending take_stray(int from, Channel channel) override;
  [[nodiscard]] std::unique_ptr<SharedMemory> share(std::int64_t capacity) override;
  [[nodiscard]] MPI_Comm handle() const { return comm_; }
  /// [size], bytes that this rank has sent to each other on channels of exchanges, all messages
  /// with what is in front of rows included.
  [[nodiscard]] const std::vector<std::int64_t>& bytes_sent() const { return bytes_sent_; }
  /// One row of this many bytes as one item of MPI's. The group keeps and frees it.
  [[nodiscard]] MPI_Datatype row_type(std::int64_t row_bytes);

 private:
  [[nodiscard]] int find_leader() override;
  [[nodiscard]] int tag(Channel channel) const;

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  std::vector<std::int64_t> bytes_sent_;
  int tag_limit_ = 32767;  ///< the least that MPI promises
  /// Messages that are over, for the next ones; shared with those in flight, which may outlive us.
  std::shared_ptr<std::vector<std::unique_ptr<Pending::State>>> spare_;
  std::map<std::int64_t, Datatype> row_types_;
};
}  // namespace switchyard::comm
