// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/node.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/base/round_up.hpp"

namespace switchyard::comm {
namespace {
/// Addresses, not memory: the most that one rank can have in flight in a round.
constexpr std::int64_t kCapacity = std::int64_t{64} << 30;
constexpr std::int64_t kLine = 64;
constexpr std::int64_t kPage = 4096;

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

NodeExchange::NodeExchange(Group& group, Channel channel, Distances distances)
    : RoundExchange(group, channel, "node"),
      board_(group, kCapacity),
      staging_(group.share(kCapacity)),
      slots_of_(static_cast<std::size_t>(group.size())),
      lines_(static_cast<std::size_t>(group.size())),
      distances_(std::move(distances)) {
  staged_.reserve(static_cast<std::size_t>(group.size()));
}

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
  const std::int64_t row_bytes = num_rows * offer.row_bytes;
  if (row_bytes > 0 && distances_.any_far()) {
    copy_past_caches(rows_, offer.base, row_bytes);
  } else if (row_bytes > 0) {
    std::memcpy(rows_, offer.base, static_cast<std::size_t>(row_bytes));
  }
  result_bytes_offered_ = result_bytes;

  board_.open(round(), offer.more);
  std::int64_t slot = slots;
  for (int r = 0; r < size(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    slots_of_[i] = board_.at(rank(), slot);
    const std::int64_t num = count_of(offer.row_offsets, r);
    const std::int64_t note_bytes = count_of(offer.note_offsets, r);
    slot += results_from(r) * result_bytes;
    if (r == rank() || (num == 0 && note_bytes == 0 && results_from(r) == 0)) continue;
    const std::int64_t first = offer.row_offsets[i] * std::int64_t{sizeof(std::int32_t)};
    auto bytes_of_a_row = static_cast<std::int32_t>(offer.row_bytes);
    group().deadline().sends(std::as_writable_bytes(std::span(&bytes_of_a_row, 1)));
    board_.tell(r, round(),
                {.row_list = list + first,
                 .first_row = rows,
                 .note = note + offer.note_offsets[i],
                 .note_bytes = note_bytes,
                 .slots = slot - results_from(r) * result_bytes,
                 .rows = static_cast<std::int32_t>(num),
                 .row_bytes = bytes_of_a_row,
                 .results = static_cast<std::int32_t>(results_from(r)),
                 .result_bytes = static_cast<std::int32_t>(result_bytes),
                 .edition = edition_number()});
    traffic_.wire_bytes += std::int64_t{sizeof(BoardLine)} + note_bytes +
                           num * (offer.row_bytes + std::int64_t{sizeof(std::int32_t)});
  }
}

void NodeExchange::carry_rows(const Offer& offer) {
  lay_out(offer);
  board_.publish(round());
  board_.await_published(round());
  for (int from = 0; from < size(); ++from) {
    if (from != rank()) take_line(offer, from);
  }
}

void NodeExchange::take_line(const Offer& offer, int from) {
  const auto i = static_cast<std::size_t>(from);
  const BoardLine* const line = board_.told(from, rank(), round());
  lines_[i] = line;
  Arrival& arrival = arrivals()[i];
  arrival.header.flags = board_.more(from, round()) ? kMoreFlag : 0;
  arrival.header.rows = 0;
  arrival.header.results = 0;
  arrival.note = {};
  if (line == nullptr) return;
  distances_.look(from, line->slots);
  if (line->row_bytes != offer.row_bytes) {
    throw ProtocolError("rows from rank " + std::to_string(from) + " have " +
                        std::to_string(line->row_bytes) + " bytes, want " +
                        std::to_string(offer.row_bytes));
  }
  require_edition(from, line->edition);
  arrival.header.rows = line->rows;
  arrival.header.results = line->results;
  arrival.note = {board_.at(from, line->note), static_cast<std::size_t>(line->note_bytes)};
}

void NodeExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  const BoardLine* const line = lines_[static_cast<std::size_t>(from)];
  if (line == nullptr) return;
  const auto* const numbers =
      reinterpret_cast<const std::int32_t*>(board_.at(from, line->row_list));
  const std::byte* const first = board_.at(from, line->first_row);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = first + std::int64_t{numbers[i]} * line->row_bytes;
  }
}

std::byte* NodeExchange::own_slots(std::int64_t) {
  return slots_of_[static_cast<std::size_t>(rank())];
}

void NodeExchange::open_slots() {
  if (result_bytes() != result_bytes_offered_) {
    throw std::invalid_argument("open_returns: row_bytes is " + std::to_string(result_bytes()) +
                                ", want " + std::to_string(result_bytes_offered_) +
                                " as the offer said");
  }
  staged_.clear();
  std::int64_t staging = 0;
  for (int r = 0; r < size(); ++r) {
    if (distances_.far(r)) staging += results_for(r) * result_bytes();
  }
  staging_->ensure(staging);
  std::byte* stage = staging_->mine();
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const auto i = static_cast<std::size_t>(r);
    results()[i] = slots_of_[i];
    const std::int64_t bytes = results_for(r) * result_bytes();
    slots()[i] = bytes == 0 ? nullptr : board_.at(r, lines_[i]->slots);
    traffic_.wire_bytes += bytes;
    if (bytes == 0 || !distances_.far(r)) continue;
    staged_.push_back({.to = slots()[i], .from = stage, .bytes = bytes});
    slots()[i] = stage;
    stage += bytes;
  }
}

void NodeExchange::carry_results() {
  for (const Staged& one : staged_) copy_past_caches(one.to, one.from, one.bytes);
  board_.finish(round());
  board_.await_finished(round());
}
}  // namespace switchyard::comm
