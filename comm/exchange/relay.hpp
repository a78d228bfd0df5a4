// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Rows and results as messages that are gathered by node: each pair of nodes exchanges one message
/// a direction and half round, however many ranks they have.
#include <memory>
#include <vector>

#include "comm/exchange/manifest.hpp"
#include "comm/exchange/round.hpp"
#include "comm/exchange/trade.hpp"

namespace switchyard::comm {

/// Of the ranks of a node, the one in place b mod (their number) trades with node b for all of
/// them. A row goes to that mate (gather), with what all mates have for node b to the rank there
/// that trades with this node (across), and from it to whoever wants it (scatter). It crosses once,
/// however many ranks of the node want it. Results go the same way back.
///
/// Cost: 2 (mates - 1) + nodes / mates frames a rank and half round instead of one for every other
/// rank, and a row is copied at both relays. For many nodes, and the only transport with a node
/// tier that needs no shared memory. Memory: what this rank passes on, kept at its largest.
class RelayExchange final : public RoundExchange {
 public:
  /// @param window  frames that are under way at a time, each way
  RelayExchange(Group& group, Channel channel, int window = kWindow);
  static constexpr int kWindow = 4;

 private:
  /// What one rank has for one other node, or this one has for one mate: a piece of a note.
  struct Load {
    std::int32_t rows = 0;
    std::int32_t results = 0;
    std::int32_t bytes = 0;  ///< of the note, or the manifest, that follows
    std::int32_t more = 0;
  };
  /// Frames to the same ranks as from them.
  struct Step {
    std::vector<Leg> out, in;
  };
  /// Rows of one rank, for this one.
  struct Source {
    Load load;
    std::span<const std::byte> note;
    const std::byte* first = nullptr;
    const std::int32_t* list = nullptr;  ///< null: one after the other
  };
  /// What a rank of this node has for a far node that this rank trades with.
  struct Passing {
    Load load;
    std::span<const std::byte> manifest;
    const std::byte* rows = nullptr;     ///< one after the other; null: this rank's own
    std::vector<std::int64_t> own_rows;  ///< then, as in the offer
    std::vector<std::int32_t> results;   ///< [ranks of the far node]
  };
  /// What a rank of a far node has for this one.
  struct Coming {
    Load load;
    Manifest manifest;
    const std::byte* rows = nullptr;
  };

  void carry_rows(const Offer& offer) override;
  void locate_rows(int from, std::span<const std::byte*> rows) const override;
  void open_slots() override;
  void carry_results() override;
  [[nodiscard]] Traffic carried() const override { return trade_.traffic(); }

  void make_legs();
  void gather(const Offer& offer);
  void open_bundle(int mate, std::span<const std::byte> note, const std::byte* rows);
  void across(const Offer& offer);
  void open_across(std::size_t far);
  void scatter();
  void open_scattered(int mate, std::span<const std::byte> note, const std::byte* rows);
  void pass_results_across();
  void hand_results_home();
  void name_arrivals();
  void size_body(Parcel& parcel, std::int64_t rows, std::int64_t row_bytes) const;
  void copy(std::byte* to, const std::byte* from, std::int64_t bytes) const;
  [[nodiscard]] std::int64_t coming_results(std::size_t far, std::size_t mate) const;
  [[nodiscard]] const std::vector<int>& ranks_of(int node) const {
    return map_.ranks_of[static_cast<std::size_t>(node)];
  }
  [[nodiscard]] std::size_t leg_of(std::size_t mate) const;

  const NodeMap& map_;
  const std::vector<int>& mates_;
  int node_;
  std::size_t local_;                     ///< this rank's place
  std::vector<std::vector<int>> trades_;  ///< [mates], rising: nodes that each trades with
  std::vector<std::size_t> far_out_;      ///< [trades_[local_]], which leg of across_ and back
  std::vector<std::size_t> far_in_;
  Trade trade_;
  bool hollow_ = false;
  std::int64_t row_bytes_ = 0;
  Step gather_, across_, scatter_, back_, recross_, home_;
  std::vector<std::byte> note_;                ///< scratch
  std::vector<std::byte> own_bundle_;          ///< this rank's note to itself
  std::vector<std::int64_t> rows_;             ///< scratch
  std::vector<std::int32_t> numbers_;          ///< scratch
  NodeLoad load_;                              ///< scratch
  std::vector<std::vector<Passing>> passing_;  ///< [trades_[local_]][mates]
  std::vector<std::vector<Coming>> coming_;    ///< [trades_[local_]][ranks of that node]
  std::vector<Source> sources_;                ///< [size]
  Buffer own_back_;                            ///< results for far ranks that this rank relays
};
}  // namespace switchyard::comm
