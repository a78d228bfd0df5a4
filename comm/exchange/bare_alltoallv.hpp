// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// MPI's own blocking collectives, without frames, checks or deadlines: what `bench exchange`
/// compares transports with. Nothing on the way of a row calls them, because nothing can interrupt
/// them once a peer is gone; the caller begins them together, after a barrier that can be.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

class MpiGroup;

/// Rows to and from every rank as MPI wants them. Sizes are found once, so that a call allocates
/// nothing.
class BareAlltoallv {
 public:
  /// @param send_rows     [size], rows for each rank; they lie one after the other
  /// @param receive_rows  [size], rows that each rank has for this one
  /// @throws std::invalid_argument  not a group of MPI processes, or more than 2^31 - 1 rows
  BareAlltoallv(Group& group, std::span<const std::int64_t> send_rows,
                std::span<const std::int64_t> receive_rows, std::int64_t row_bytes);

  /// MPI_Alltoallv. @param send  [send_rows summed]  @param receive  [receive_rows summed]
  void out(const std::byte* send, std::byte* receive) const;
  /// The way back: what out() received goes home. Same sizes, directions swapped.
  void back(const std::byte* send, std::byte* receive) const;

 private:
  struct Side {
    std::vector<int> counts;   ///< [size], in rows
    std::vector<int> offsets;  ///< [size], in rows
  };
  static Side side_of(std::span<const std::int64_t> rows);
  void move(const std::byte* send, const Side& to, std::byte* receive, const Side& from) const;

  MpiGroup& group_;
  std::int64_t row_bytes_;
  Side send_;
  Side receive_;
};

/// True if the bare collectives can be had: the ranks are MPI processes.
[[nodiscard]] bool has_bare_collectives(const Group& group);

/// MPI_Allgather. @param all  [size * mine.size()]
/// @throws std::invalid_argument  not a group of MPI processes
void bare_allgather(Group& group, std::span<const std::int64_t> mine, std::span<std::int64_t> all);
}  // namespace switchyard::comm
