// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/p2p.hpp"

#include "comm/base/hollow.hpp"

namespace switchyard::comm {

P2pExchange::P2pExchange(Group& group, Channel channel, int window)
    : RoundExchange(group, channel, "p2p"),
      courier_(group, channel, window),
      rows_in_(static_cast<std::size_t>(group.size())),
      results_in_(static_cast<std::size_t>(group.size())) {}

void P2pExchange::size_body(Buffer& body, std::int64_t bytes) const {
  if (hollow_) {
    body = hollow_buffer(static_cast<std::size_t>(bytes));
  } else {
    body.resize(static_cast<std::size_t>(bytes));
  }
}

void P2pExchange::carry_rows(const Offer& offer) {
  hollow_ = is_hollow(offer.base);
  courier_.hollow(hollow_);
  const auto fill = [&](int to, Parcel& out) {
    out.header = offer_header(FrameKind::kDispatch, offer, to);
    copy_note(offer, to, out.note);
    size_body(out.body, body_extent(out.header).bytes());
    pack_rows(offer, to, out.body.data());
  };
  courier_.swap(rows_in_, fill, [&](int from) { return expect(FrameKind::kDispatch, from, -1); });
  take_arrivals(rows_in_);
}

void P2pExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  const Parcel& parcel = rows_in_[static_cast<std::size_t>(from)];
  const std::byte* row = parcel.body.data();
  for (const std::byte*& address : rows) {
    address = row;
    row += parcel.header.row_bytes;
  }
}

void P2pExchange::open_slots() {
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    // The rows have left, so their memory is free for the results.
    Buffer& body = courier_.outgoing(r).body;
    size_body(body, results_for(r) * result_bytes());
    slots()[static_cast<std::size_t>(r)] = body.data();
  }
}

void P2pExchange::carry_results() {
  const auto fill = [&](int to, Parcel& out) {
    out.header = result_header(FrameKind::kReturn, results_for(to), to);
  };
  courier_.swap(results_in_, fill,
                [&](int from) { return expect(FrameKind::kReturn, from, results_from(from)); });
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    results()[static_cast<std::size_t>(r)] = results_in_[static_cast<std::size_t>(r)].body.data();
  }
}
}  // namespace switchyard::comm
