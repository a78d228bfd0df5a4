// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/trade.hpp"

#include <algorithm>
#include <utility>

#include "comm/base/hollow.hpp"
#include "comm/base/words.hpp"

namespace switchyard::comm {
namespace {
Extent rows_of(const FrameHeader& header) {
  return {.row_bytes = header.row_bytes, .rows = header.rows};
}

void take_back(Pending& pending, Buffer& part) {
  if (!pending.empty()) part = pending.take();
}

bool all_through(Leg& leg) {
  const bool head = leg.head.test();  // each test moves its message
  const bool note = leg.note.test();
  const bool body = leg.body.test();
  if (!head || !note || !body) return false;
  take_back(leg.head, leg.parcel.head);
  take_back(leg.note, leg.parcel.note);
  take_back(leg.body, leg.parcel.body);
  leg.state = Leg::State::kDone;
  return true;
}
}  // namespace

Pending Trade::post(int to, Buffer& part, const Extent& extent) {
  traffic_.wire_bytes += extent.bytes();
  const auto& node_of = group_.nodes().node_of;
  if (node_of[static_cast<std::size_t>(to)] != node_of[static_cast<std::size_t>(group_.rank())]) {
    traffic_.between_nodes_bytes += extent.bytes();
  }
  traffic_.messages += 1;
  return group_.send(to, channel_, std::move(part), extent);
}

void Trade::receive_rest(Leg& leg, bool headed, bool hollow) {
  Parcel& parcel = leg.parcel;
  if (const auto note = parcel.header.note_bytes; headed && note > 0) {
    leg.note =
        group_.receive(leg.peer, channel_, std::move(parcel.note), {.row_bytes = 1, .rows = note});
  }
  if (const Extent body = rows_of(parcel.header); body.rows > 0) {
    if (hollow) parcel.body = hollow_buffer(static_cast<std::size_t>(body.bytes()));
    leg.body = group_.receive(leg.peer, channel_, std::move(parcel.body), body);
  }
  leg.state = Leg::State::kRest;
}

template <class Open, class Advance>
bool Trade::move(std::span<Leg> legs, Reach& reach, const Open& open, const Advance& advance) {
  while (reach.opened < legs.size() && reach.opened < reach.first + window_) {
    open(legs[reach.opened++]);
  }
  for (std::size_t i = reach.first; i < reach.opened; ++i) {
    if (legs[i].state != Leg::State::kDone) advance(legs[i]);
  }
  while (reach.first < reach.opened && legs[reach.first].state == Leg::State::kDone) ++reach.first;
  return reach.first == legs.size();
}

void Trade::frames(std::span<Leg> out, std::span<Leg> in, const Expect& expect, bool hollow) {
  swap(out, in, &expect, hollow);
}

void Trade::bodies(std::span<Leg> out, std::span<Leg> in, bool hollow) {
  swap(out, in, nullptr, hollow);
}

void Trade::swap(std::span<Leg> out, std::span<Leg> in, const Expect* expect, bool hollow) {
  const bool headed = expect != nullptr;
  const auto send = [&](Leg& leg) {
    Parcel& parcel = leg.parcel;
    if (headed) {
      parcel.head.resize(static_cast<std::size_t>(kFrameHeaderBytes));
      write_header(parcel.header, parcel.head.bytes());
      group_.deadline().sends(parcel.head.bytes());
      leg.head = post(leg.peer, parcel.head, {.row_bytes = 1, .rows = kFrameHeaderBytes});
      if (const auto note = parcel.header.note_bytes; note > 0) {
        leg.note = post(leg.peer, parcel.note, {.row_bytes = 1, .rows = note});
      }
    }
    const Extent body = rows_of(parcel.header);
    if (body.rows > 0) leg.body = post(leg.peer, parcel.body, body);
    leg.state = Leg::State::kRest;
  };
  const auto receive = [&](Leg& leg) {
    if (!headed) return receive_rest(leg, headed, hollow);
    leg.head = group_.receive(leg.peer, channel_, std::move(leg.parcel.head),
                              {.row_bytes = 1, .rows = kFrameHeaderBytes});
    leg.state = Leg::State::kHead;
  };
  const auto advance = [&](Leg& leg) {
    if (leg.state == Leg::State::kHead && leg.head.test()) {
      take_back(leg.head, leg.parcel.head);
      leg.parcel.header = read_header(
          std::as_const(leg.parcel.head).bytes().first(kFrameHeaderBytes), (*expect)(leg.peer));
      receive_rest(leg, headed, hollow);
    }
    if (leg.state == Leg::State::kRest) static_cast<void>(all_through(leg));
  };
  for (Leg& leg : out) leg.state = Leg::State::kWaits;
  for (Leg& leg : in) leg.state = Leg::State::kWaits;
  Reach sent;
  Reach received;
  Awaited awaited{.what = "frames"};
  const auto done = [&] {
    const bool all_sent = move(out, sent, send, advance);
    const bool all_here = move(in, received, receive, advance);
    if (!all_here) {
      awaited.peer = in[received.first].peer;
    } else if (!all_sent) {
      awaited.peer = out[sent.first].peer;
    }
    return all_sent && all_here;
  };
  const auto whom = [&] {
    std::vector<int> ranks;
    for (const Leg& leg : in) {
      if (leg.state != Leg::State::kDone) ranks.push_back(leg.peer);
    }
    for (const Leg& leg : out) {
      if (leg.state != Leg::State::kDone) ranks.push_back(leg.peer);
    }
    std::ranges::sort(ranks);
    ranks.erase(std::ranges::unique(ranks).begin(), ranks.end());
    return rank_names(ranks);
  };
  group_.deadline().wait(done, whom, awaited);
  if (!hollow) return;
  // Thousands of ranks in one process: what has been said is not kept for the next round.
  for (Leg& leg : out) leg.parcel.note = Buffer();
}
}  // namespace switchyard::comm
