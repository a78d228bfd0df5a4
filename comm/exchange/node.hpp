// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Between ranks of one node: rows are read where they lie in their home's shared memory and
/// results are written into it. A flag a rank says when; nothing is sent.
#include <memory>
#include <vector>

#include "comm/base/cache_line.hpp"
#include "comm/exchange/node_board.hpp"
#include "comm/exchange/round.hpp"

namespace switchyard::comm {

/// Cost: this rank's rows are copied once into its segment, however many ranks read them, and 4
/// bytes for each row named. Wire bytes are what others read of this rank's segment, or what it
/// wrote into theirs; none of them meets a wire.
class NodeExchange final : public RoundExchange {
 public:
  /// Collective over the group, whose ranks all stand on one node.
  NodeExchange(Group& group, Channel channel, Distances distances);

  [[nodiscard]] bool shares_addresses() const override { return true; }

 private:
  void carry_rows(const Offer& offer) override;
  void locate_rows(int from, std::span<const std::byte*> rows) const override;
  [[nodiscard]] const std::byte* own_rows(const Offer&) const override { return rows_; }
  [[nodiscard]] std::byte* own_slots(std::int64_t bytes) override;
  void open_slots() override;
  void carry_results() override;
  [[nodiscard]] Traffic carried() const override { return traffic_; }

  /// Everything of a round in this rank's segment, where others find it by the lines that they are
  /// given.
  void lay_out(const Offer& offer);
  /// What `from` has for this rank, if anything, as its header would say.
  void take_line(const Offer& offer, int from);

  /// Results for a mate whose lines come from far, until they are all there.
  struct Staged {
    std::byte* to = nullptr;
    const std::byte* from = nullptr;
    std::int64_t bytes = 0;
  };

  NodeBoard board_;
  std::unique_ptr<SharedMemory> staging_;  ///< mates write there too, when they take tasks
  std::byte* rows_ = nullptr;              ///< of this round, in this rank's segment
  std::int64_t result_bytes_offered_ = 0;
  std::vector<std::byte*> slots_of_;     ///< by rank, in this rank's segment
  std::vector<const BoardLine*> lines_;  ///< by rank, what it told this one
  Distances distances_;
  std::vector<Staged> staged_;  ///< of this round
  Traffic traffic_;
};
}  // namespace switchyard::comm
