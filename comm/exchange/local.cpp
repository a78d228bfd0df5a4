// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/local.hpp"

#include <cstring>

namespace switchyard::comm {

LocalExchange::LocalExchange(Group& group, Channel channel)
    : RoundExchange(group, channel, "local"),
      courier_(group, channel),
      rows_in_(static_cast<std::size_t>(group.size())),
      reply_in_(static_cast<std::size_t>(group.size())),
      results_in_(static_cast<std::size_t>(group.size())) {}

LocalExchange::~LocalExchange() {
  if (!in_a_round()) return;
  for (Buffer& results : results_in_) results.abandon();  // others may still write there
}

void LocalExchange::carry_rows(const Offer& offer) {
  const auto fill = [&](int to, Parcel& out) {
    out.header = offer_header(FrameKind::kLend, offer, to);
    copy_note(offer, to, out.note);
    out.body.resize(static_cast<std::size_t>(body_extent(out.header).bytes()));
    const auto first = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(to)]);
    for (std::size_t i = 0; i < static_cast<std::size_t>(out.header.rows); ++i) {
      const std::byte* row = offer.base + offer.rows[first + i] * offer.row_bytes;
      std::memcpy(out.body.data() + i * sizeof row, &row, sizeof row);
    }
  };
  courier_.swap(rows_in_, fill, [&](int from) { return expect(FrameKind::kLend, from, -1); });
  take_arrivals(rows_in_);
}

void LocalExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  if (rows.empty()) return;
  std::memcpy(rows.data(), rows_in_[static_cast<std::size_t>(from)].body.data(), rows.size_bytes());
}

void LocalExchange::open_slots() {
  const auto fill = [&](int to, Parcel& out) {
    const auto r = static_cast<std::size_t>(to);
    out.header = result_header(FrameKind::kSlots, results_from(to), to);
    results_in_[r].resize(static_cast<std::size_t>(results_from(to) * result_bytes()));
    std::byte* const slot = results_in_[r].data();
    results()[r] = slot;
    out.body.resize(sizeof slot);
    std::memcpy(out.body.data(), &slot, sizeof slot);
  };
  courier_.swap(reply_in_, fill,
                [&](int from) { return expect(FrameKind::kSlots, from, results_for(from)); });
  for (int r = 0; r < size(); ++r) {
    const auto i = static_cast<std::size_t>(r);
    if (r == rank()) continue;
    slots()[i] = nullptr;
    if (results_for(r) > 0) std::memcpy(&slots()[i], reply_in_[i].body.data(), sizeof slots()[i]);
  }
}

void LocalExchange::carry_results() {
  const auto fill = [&](int to, Parcel& out) {
    out.header = result_header(FrameKind::kWritten, results_for(to), to);
  };
  courier_.swap(reply_in_, fill,
                [&](int from) { return expect(FrameKind::kWritten, from, results_from(from)); });
}
}  // namespace switchyard::comm
