// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What all transports of an exchange share: the order of calls, the checks, the rows that stay at
/// home, and the shape of what is delivered. A transport only carries.
#include <string_view>
#include <vector>

#include "comm/base/buffer.hpp"
#include "comm/exchange/courier.hpp"
#include "comm/exchange/exchange.hpp"
#include "comm/wire/frame.hpp"

namespace switchyard::comm {

/// @throws std::invalid_argument  "offer: row_offsets has 3 entries, want 5"
/// @param stages  that the exchange has
void require_offer(const Offer& offer, int ranks, int stages);

/// Counted for rank r of an offsets list.
[[nodiscard]] inline std::int64_t count_of(const std::vector<std::int64_t>& offsets, int rank) {
  const auto r = static_cast<std::size_t>(rank);
  return offsets[r + 1] - offsets[r];
}

/// The rows for `rank`, one after the other, to `to`.
void pack_rows(const Offer& offer, int rank, std::byte* to);

/// The note for `rank`; good while the offer is.
[[nodiscard]] std::span<const std::byte> note_for(const Offer& offer, int rank);
/// The same, to `to`, which becomes as large.
void copy_note(const Offer& offer, int rank, Buffer& to);

class RoundExchange : public Exchange {
 public:
  RoundExchange(Group& group, Channel channel, std::string_view name);

  [[nodiscard]] const Delivery& dispatch(const Offer& offer) final;
  [[nodiscard]] std::span<std::byte* const> open_returns(std::int64_t row_bytes) final;
  [[nodiscard]] std::span<const std::byte* const> collect() final;
  [[nodiscard]] std::string_view name() const final { return name_; }
  [[nodiscard]] Traffic traffic() const final;
  void edition(std::uint32_t number) final { edition_ = number; }

  /// Which exchange of its group this is; in every header.
  [[nodiscard]] static std::uint32_t epoch(Channel channel) {
    return static_cast<std::uint32_t>(static_cast<int>(channel) - static_cast<int>(kFirstExchange));
  }

 protected:
  /// What came from one other rank.
  struct Arrival {
    FrameHeader header;
    std::span<const std::byte> note;
  };

  /// Takes the offer to the others and fills arrivals() but this rank's.
  virtual void carry_rows(const Offer& offer) = 0;
  /// Where the rows that came from rank `from` lie, to `rows`.
  virtual void locate_rows(int from, std::span<const std::byte*> rows) const = 0;
  /// The same for the rows of this rank's own offer, where carry_rows moved them.
  [[nodiscard]] virtual const std::byte* own_rows(const Offer& offer) const { return offer.base; }
  /// Room for what this rank answers itself.
  [[nodiscard]] virtual std::byte* own_slots(std::int64_t bytes);
  /// Fills slots() and results() but this rank's.
  virtual void open_slots() = 0;
  /// Takes what is in slots() to where results() says.
  virtual void carry_results() = 0;
  /// Bytes and messages that left this rank.
  [[nodiscard]] virtual Traffic carried() const = 0;

  [[nodiscard]] Group& group() { return group_; }
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] std::vector<Arrival>& arrivals() { return arrivals_; }
  [[nodiscard]] const std::vector<Arrival>& arrivals() const { return arrivals_; }
  [[nodiscard]] std::vector<std::byte*>& slots() { return slots_; }
  [[nodiscard]] std::vector<const std::byte*>& results() { return results_; }
  /// Between dispatch and the end of collect, and for good after a failure.
  [[nodiscard]] bool in_a_round() const { return turn_ != Turn::kDispatch; }

  [[nodiscard]] std::uint32_t edition_number() const { return edition_; }
  /// For lines in shared memory, which have no header.
  /// @throws ProtocolError  "rows from rank 2: edition is 1, want 2"
  void require_edition(int from, std::uint32_t edition) const;

  /// The number of this round, from 1.
  [[nodiscard]] std::uint64_t round() const { return sequence_; }
  [[nodiscard]] std::int64_t result_bytes() const { return result_bytes_; }
  /// Results that `rank` returns to this one; and that this one returns to it.
  [[nodiscard]] std::int64_t results_from(int rank) const {
    return results_from_[static_cast<std::size_t>(rank)];
  }
  [[nodiscard]] std::int64_t results_for(int rank) const {
    return delivery_.results[static_cast<std::size_t>(rank)];
  }

  /// What a courier brought.
  void take_arrivals(const std::vector<Parcel>& parcels);

  /// A header of this round; rows for kinds before open_returns, results after it.
  [[nodiscard]] FrameHeader offer_header(FrameKind kind, const Offer& offer, int to) const;
  [[nodiscard]] FrameHeader result_header(FrameKind kind, std::int64_t rows, int to) const;
  [[nodiscard]] ExpectedFrame expect(FrameKind kind, int from, std::int64_t rows) const;

 private:
  enum class Turn { kDispatch, kOpenReturns, kCollect, kFailed };
  void require_turn(Turn turn, const char* call) const;
  /// Enters half a round; returns only if this rank is to take part.
  void attend(std::string_view half);
  void keep_own(const Offer& offer);
  void deliver(const Offer& offer);

  Group& group_;
  int rank_;
  int size_;
  std::string_view name_;
  std::uint32_t epoch_;
  std::uint32_t edition_ = 0;
  Turn turn_ = Turn::kDispatch;
  std::uint64_t sequence_ = 0;
  std::int64_t row_bytes_ = 0;     ///< of the rows of this round
  std::int64_t result_bytes_ = 0;  ///< of one result of this round
  std::vector<std::int64_t> results_from_;
  std::vector<Arrival> arrivals_;
  Delivery delivery_;
  Buffer own_note_;
  Buffer own_results_;
  std::vector<std::byte*> slots_;          ///< by rank, where its results are written
  std::vector<const std::byte*> results_;  ///< by rank, where those that it wrote lie
  Traffic rows_crossed_;                   ///< rows_out and results_out only
};
}  // namespace switchyard::comm
