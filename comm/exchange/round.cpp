// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/round.hpp"

#include <limits>
#include <stdexcept>
#include <string>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::comm {
RoundExchange::RoundExchange(Group& group, Channel channel, std::string_view name)
    : group_(group), rank_(group.rank()), size_(group.size()), name_(name), epoch_(epoch(channel)) {
  const auto ranks = static_cast<std::size_t>(group.size());
  arrivals_.resize(ranks);
  slots_.resize(ranks);
  results_.resize(ranks);
  delivery_.row_offsets.resize(ranks + 1);
  delivery_.notes.resize(ranks);
  delivery_.results.resize(ranks);
}

void RoundExchange::require_turn(Turn turn, const char* call) const {
  if (turn_ == turn) return;  // before any words are made: calls are on the path of a row
  const std::string where = "exchange " + std::string(name_) + ": ";
  if (turn_ == Turn::kFailed) {
    throw std::invalid_argument(where + call + " after a failure, want a new group");
  }
  throw std::invalid_argument(where + call + " out of turn, want dispatch, open_returns, collect");
}

FrameHeader RoundExchange::offer_header(FrameKind kind, const Offer& offer, int to) const {
  FrameHeader header = result_header(kind, count_of(offer.row_offsets, to), to);
  header.flags = offer.more ? kMoreFlag : 0;
  header.row_bytes = static_cast<std::int32_t>(offer.row_bytes);
  header.results = static_cast<std::int32_t>(results_from(to));
  header.note_bytes = count_of(offer.note_offsets, to);
  return header;
}

FrameHeader RoundExchange::result_header(FrameKind kind, std::int64_t rows, int to) const {
  FrameHeader header;
  header.kind = kind;
  header.epoch = epoch_;
  header.from = rank();
  header.to = to;
  header.sequence = sequence_;
  header.rows = rows;
  header.row_bytes = static_cast<std::int32_t>(result_bytes_);
  header.edition = edition_;
  return header;
}

ExpectedFrame RoundExchange::expect(FrameKind kind, int from, std::int64_t rows) const {
  const bool rows_kind =
      kind == FrameKind::kDispatch || kind == FrameKind::kLend || kind == FrameKind::kForward;
  return {.kind = kind,
          .epoch = epoch_,
          .from = from,
          .to = rank(),
          .sequence = sequence_,
          .row_bytes = rows_kind ? row_bytes_ : result_bytes_,
          .rows = rows,
          .edition = edition_};
}

void RoundExchange::require_edition(int from, std::uint32_t edition) const {
  if (edition == edition_) return;
  throw ProtocolError("rows from rank " + std::to_string(from) + ": edition is " +
                      std::to_string(edition) + ", want " + std::to_string(edition_));
}

const Delivery& RoundExchange::dispatch(const Offer& offer) {
  require_turn(Turn::kDispatch, "dispatch");
  require_offer(offer, size(), stages());
  turn_ = Turn::kFailed;  // until all went well
  attend("dispatch");
  ++sequence_;
  row_bytes_ = offer.row_bytes;
  results_from_ = offer.results;
  keep_own(offer);
  carry_rows(offer);
  deliver(offer);
  turn_ = Turn::kOpenReturns;
  return delivery_;
}

void RoundExchange::attend(std::string_view half) {
  const auto channel = static_cast<std::int64_t>(epoch_) + 1;
  const auto next = static_cast<std::int64_t>(sequence_) + 1;
  const bool dispatches = half == "dispatch";
  Deadline& deadline = group_.deadline();
  const Attendance attendance =
      deadline.meet({.what = half, .channel = channel, .round = dispatches ? next : next - 1});
  if (attendance == Attendance::kEnter) return;
  if (attendance == Attendance::kElsewhere) barrier(group_);
  // Whoever leaves out one half ends in the other, to which nobody else comes.
  const std::string_view other = dispatches ? "collect" : "dispatch";
  static_cast<void>(deadline.meet({.what = other, .channel = channel, .round = next}));
  deadline.wait([] { return false; }, [] { return std::string("the other ranks"); },
                {.what = other});
}

void RoundExchange::keep_own(const Offer& offer) {
  const int self = rank();
  copy_note(offer, self, own_note_);
  arrivals_[static_cast<std::size_t>(self)] = {
      .header = offer_header(FrameKind::kDispatch, offer, self), .note = own_note_.bytes()};
}

void RoundExchange::take_arrivals(const std::vector<Parcel>& parcels) {
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const Parcel& parcel = parcels[static_cast<std::size_t>(r)];
    arrivals_[static_cast<std::size_t>(r)] = {
        .header = parcel.header,
        .note = parcel.note.bytes().first(static_cast<std::size_t>(parcel.header.note_bytes))};
  }
}

void RoundExchange::deliver(const Offer& offer) {
  delivery_.more = false;
  for (int r = 0; r < size(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    const Arrival& arrival = arrivals_[i];
    delivery_.row_offsets[i + 1] = delivery_.row_offsets[i] + arrival.header.rows;
    delivery_.notes[i] = arrival.note;
    delivery_.results[i] = arrival.header.results;
    delivery_.more = delivery_.more || (arrival.header.flags & kMoreFlag) != 0;
    if (r != rank()) rows_crossed_.rows_out += count_of(offer.row_offsets, r);
  }
  delivery_.rows.resize(static_cast<std::size_t>(delivery_.row_offsets.back()));
  for (int r = 0; r < size(); ++r) {
    const auto begin = delivery_.row_offsets[static_cast<std::size_t>(r)];
    const auto rows = std::span(delivery_.rows)
                          .subspan(static_cast<std::size_t>(begin),
                                   static_cast<std::size_t>(count_of(delivery_.row_offsets, r)));
    if (r != rank()) {
      locate_rows(r, rows);
      continue;
    }
    const auto first = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(r)]);
    const std::byte* const base = own_rows(offer);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i] = base + offer.rows[first + i] * offer.row_bytes;
    }
  }
}

std::byte* RoundExchange::own_slots(std::int64_t bytes) {
  own_results_.resize(static_cast<std::size_t>(bytes));
  return own_results_.data();
}

std::span<std::byte* const> RoundExchange::open_returns(std::int64_t row_bytes) {
  require_turn(Turn::kOpenReturns, "open_returns");
  if (row_bytes < 1 || row_bytes > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("open_returns: row_bytes is " + std::to_string(row_bytes) +
                                ", want 1 to 2147483647");
  }
  turn_ = Turn::kFailed;
  result_bytes_ = row_bytes;
  const auto self = static_cast<std::size_t>(rank());
  slots_[self] = own_slots(results_from(rank()) * row_bytes);
  results_[self] = slots_[self];
  open_slots();
  turn_ = Turn::kCollect;
  return slots_;
}

std::span<const std::byte* const> RoundExchange::collect() {
  require_turn(Turn::kCollect, "collect");
  turn_ = Turn::kFailed;
  attend("collect");
  carry_results();
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) rows_crossed_.results_out += results_for(r);
  }
  turn_ = Turn::kDispatch;
  return results_;
}

Traffic RoundExchange::traffic() const {
  Traffic all = carried();
  all.rows_out = rows_crossed_.rows_out;
  all.results_out = rows_crossed_.results_out;
  return all;
}
}  // namespace switchyard::comm
