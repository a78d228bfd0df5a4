// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The same frames through MPI's own collective, as a peer to compare with. MPI groups only.
#include <memory>
#include <vector>

#include "comm/exchange/round.hpp"
#include "comm/group/mpi_group.hpp"

namespace switchyard::comm {

/// Headers by MPI_Ialltoall, then all notes, then all rows by MPI_Ialltoallv, each waited for
/// within the deadline. Exchanges that share a group must be used in the same order on all ranks.
/// Limit: the rows that a rank sends or receives in one round, over all ranks, must fit an int, and
/// so must the bytes of its notes (displacements are ints).
class AlltoallvExchange final : public RoundExchange {
 public:
  AlltoallvExchange(MpiGroup& group, Channel channel);
  ~AlltoallvExchange() override;

 private:
  /// One collective in flight, with all that MPI may still read or write.
  struct Flight {
    std::vector<int> send_counts, send_offsets;        ///< [size], in items
    std::vector<int> receive_counts, receive_offsets;  ///< [size], in items
    Buffer send;
    Buffer receive;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void carry_rows(const Offer& offer) override;
  void locate_rows(int from, std::span<const std::byte*> rows) const override;
  void open_slots() override;
  void carry_results() override;
  [[nodiscard]] Traffic carried() const override { return traffic_; }

  /// Sends headers_; everyone's header for this rank, checked; own entry not.
  void swap_headers(FrameKind kind);
  /// Sizes both sides of a flight for out_ and in_ items of `item_bytes`. @throws
  /// std::invalid_argument
  void load(Flight& flight, std::int64_t item_bytes) const;
  void count_message(int to, std::int64_t bytes);
  void fly(std::unique_ptr<Flight>& flight, std::int64_t item_bytes);
  void land(std::unique_ptr<Flight>& flight);

  MpiGroup& mpi_;
  std::unique_ptr<Flight> heads_;
  std::unique_ptr<Flight> notes_;
  std::unique_ptr<Flight> rows_;
  std::unique_ptr<Flight> returns_;
  // Of one call at a time; kept so that none allocates.
  std::vector<FrameHeader> headers_;    ///< [size]
  std::vector<std::int64_t> out_, in_;  ///< [size], items to and from each rank
  Traffic traffic_;
};
}  // namespace switchyard::comm
