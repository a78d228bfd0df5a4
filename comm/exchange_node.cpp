// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange_node.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "comm/error.hpp"

namespace switchyard::comm {
namespace {
/// Addresses, not memory: the most that one rank can have in flight in a round.
constexpr std::int64_t kCapacity = std::int64_t{64} << 30;
constexpr std::int64_t kLine = 64;
constexpr std::int64_t kPage = 4096;

std::int64_t round_up(std::int64_t bytes, std::int64_t to) {
  return (bytes + to - 1) / to * to;
}

std::int64_t rows_to_lend(const Offer& offer) {
  const auto last = std::max_element(offer.rows.begin(), offer.rows.end());
  const std::int64_t rows = last == offer.rows.end() ? 0 : *last + 1;
  if (rows > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("offer: row " + std::to_string(rows - 1) +
                                ", want 0 to 2147483646 within a node");
  }
  return rows;
}
}  // namespace

NodeExchange::NodeExchange(Group& group, Channel channel)
    : RoundExchange(group, channel, "node"), board_(group, kCapacity) {}

void NodeExchange::lay_out(const Offer& offer) {
  const std::int64_t result_bytes = offer.result_bytes > 0 ? offer.result_bytes : offer.row_bytes;
  std::int64_t results = 0;
  for (int r = 0; r < size(); ++r) results += results_from(r);
  const std::int64_t num_rows = rows_to_lend(offer);
  const auto list_bytes = static_cast<std::int64_t>(offer.rows.size() * sizeof(std::int32_t));
  const std::int64_t list = board_.first_free();
  const std::int64_t note = round_up(list + list_bytes, kLine);
  const std::int64_t rows = round_up(note + static_cast<std::int64_t>(offer.notes.size()), kPage);
  const std::int64_t slots = round_up(rows + num_rows * offer.row_bytes, kPage);
  board_.memory().ensure(slots + results * result_bytes);

  std::byte* const base = board_.memory().mine();
  auto* const numbers = reinterpret_cast<std::int32_t*>(base + list);
  std::transform(offer.rows.begin(), offer.rows.end(), numbers,
                 [](std::int64_t row) { return static_cast<std::int32_t>(row); });
  if (!offer.notes.empty()) std::memcpy(base + note, offer.notes.data(), offer.notes.size());
  rows_ = base + rows;
  if (num_rows > 0) {
    std::memcpy(rows_, offer.base, static_cast<std::size_t>(num_rows * offer.row_bytes));
  }
  result_bytes_offered_ = result_bytes;

  std::int64_t slot = slots;
  for (int r = 0; r < size(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    board_.line(rank(), r, round()) = {
        .rows = count_of(offer.row_offsets, r),
        .row_list = list + offer.row_offsets[i] * std::int64_t{sizeof(std::int32_t)},
        .first_row = rows,
        .row_bytes = offer.row_bytes,
        .note = note + offer.note_offsets[i],
        .note_bytes = count_of(offer.note_offsets, r),
        .results = results_from(r),
        .slots = slot,
        .result_bytes = result_bytes,
        .more = offer.more ? 1 : 0};
    slot += results_from(r) * result_bytes;
  }
}

void NodeExchange::carry_rows(const Offer& offer) {
  lay_out(offer);
  board_.publish(round());
  for (int step = 1; step < size(); ++step) {
    const int from = (rank() + step) % size();
    board_.await_published(from, round());
    const BoardLine& line = board_.line(from, rank(), round());
    if (line.row_bytes != offer.row_bytes) {
      throw ProtocolError("rows from rank " + std::to_string(from) + " have " +
                          std::to_string(line.row_bytes) + " bytes, want " +
                          std::to_string(offer.row_bytes));
    }
    FrameHeader header = offer_header(FrameKind::kLend, offer, from);
    header.from = from;
    header.to = rank();
    header.flags = line.more != 0 ? kMoreFlag : 0;
    header.rows = line.rows;
    header.results = static_cast<std::int32_t>(line.results);
    header.note_bytes = line.note_bytes;
    arrivals()[static_cast<std::size_t>(from)] = {
        .header = header,
        .note = {board_.at(from, line.note), static_cast<std::size_t>(line.note_bytes)}};
    traffic_.wire_bytes +=
        static_cast<std::int64_t>(sizeof(BoardLine)) + count_of(offer.note_offsets, from) +
        count_of(offer.row_offsets, from) * (offer.row_bytes + std::int64_t{sizeof(std::int32_t)});
  }
}

void NodeExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  const BoardLine& line = board_.line(from, rank(), round());
  const auto* const numbers = reinterpret_cast<const std::int32_t*>(board_.at(from, line.row_list));
  const std::byte* const first = board_.at(from, line.first_row);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = first + numbers[i] * line.row_bytes;
}

std::byte* NodeExchange::own_slots(std::int64_t) {
  return board_.at(rank(), board_.line(rank(), rank(), round()).slots);
}

void NodeExchange::open_slots() {
  if (result_bytes() != result_bytes_offered_) {
    throw std::invalid_argument("open_returns: row_bytes is " + std::to_string(result_bytes()) +
                                ", want " + std::to_string(result_bytes_offered_) +
                                " as the offer said");
  }
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const auto i = static_cast<std::size_t>(r);
    slots()[i] = board_.at(r, board_.line(r, rank(), round()).slots);
    results()[i] = board_.at(rank(), board_.line(rank(), r, round()).slots);
  }
}

void NodeExchange::carry_results() {
  board_.finish(round());
  for (int step = 1; step < size(); ++step) {
    const int r = (rank() + step) % size();
    const BoardLine& mine = board_.line(rank(), r, round());
    traffic_.wire_bytes += results_for(r) * result_bytes();
    // Whoever was given anything may still be reading it.
    if (mine.rows > 0 || mine.note_bytes > 0 || mine.results > 0) {
      board_.await_finished(r, round());
    }
  }
}
}  // namespace switchyard::comm
