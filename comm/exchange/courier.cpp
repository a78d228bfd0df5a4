// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/courier.hpp"

#include <utility>

#include "comm/base/hollow.hpp"
#include "comm/base/words.hpp"

namespace switchyard::comm {
namespace {
constexpr Extent bytes_extent(std::int64_t bytes) {
  return {.row_bytes = 1, .rows = bytes};
}

/// Gets a buffer back from the message that carried it, if there was one.
void regain(Pending& pending, Buffer& part) {
  if (!pending.empty()) part = pending.take();
}
}  // namespace

Courier::Courier(Group& group, Channel channel, int window)
    : group_(group),
      channel_(channel),
      window_(window),
      out_(static_cast<std::size_t>(group.size())),
      talks_(static_cast<std::size_t>(group.size())) {}

Pending Courier::post(int to, Buffer& part, const Extent& extent) {
  traffic_.wire_bytes += extent.bytes();
  const auto& node_of = group_.nodes().node_of;
  if (node_of[static_cast<std::size_t>(to)] != node_of[static_cast<std::size_t>(group_.rank())]) {
    traffic_.between_nodes_bytes += extent.bytes();
  }
  traffic_.messages += 1;
  return group_.send(to, channel_, std::move(part), extent);
}

void Courier::open(int step, std::vector<Parcel>& in, const Fill& fill) {
  Talk& talk = talks_[static_cast<std::size_t>(step)];
  talk = {};
  Parcel& expected = in[static_cast<std::size_t>(from(step))];
  talk.head_in = group_.receive(from(step), channel_, std::move(expected.head),
                                bytes_extent(kFrameHeaderBytes));
  const int rank = to(step);
  Parcel& parcel = outgoing(rank);
  fill(rank, parcel);
  parcel.head.resize(static_cast<std::size_t>(kFrameHeaderBytes));
  write_header(parcel.header, parcel.head.bytes());
  group_.deadline().sends(parcel.head.bytes());
  const Extent body = body_extent(parcel.header);
  talk.head_out = post(rank, parcel.head, bytes_extent(kFrameHeaderBytes));
  if (parcel.header.note_bytes > 0) {
    talk.note_out = post(rank, parcel.note, bytes_extent(parcel.header.note_bytes));
  }
  if (body.rows > 0) talk.body_out = post(rank, parcel.body, body);
}

void Courier::advance(int step, std::vector<Parcel>& in, const Expect& expect) {
  Talk& talk = talks_[static_cast<std::size_t>(step)];
  const int rank = from(step);
  Parcel& parcel = in[static_cast<std::size_t>(rank)];
  if (!talk.understood && talk.head_in.test()) {
    regain(talk.head_in, parcel.head);
    parcel.header =
        read_header(std::as_const(parcel.head).bytes().first(kFrameHeaderBytes), expect(rank));
    if (const auto note = parcel.header.note_bytes; note > 0) {
      talk.note_in = group_.receive(rank, channel_, std::move(parcel.note), bytes_extent(note));
    }
    if (const Extent body = body_extent(parcel.header); body.rows > 0) {
      if (hollow_) parcel.body = hollow_buffer(static_cast<std::size_t>(body.bytes()));
      talk.body_in = group_.receive(rank, channel_, std::move(parcel.body), body);
    }
    talk.understood = true;
  }
  bool finished = talk.understood;
  for (Pending* pending :
       {&talk.note_in, &talk.body_in, &talk.head_out, &talk.note_out, &talk.body_out}) {
    finished = pending->test() && finished;  // each test moves its message
  }
  if (!finished) return;
  Parcel& sent = outgoing(to(step));
  regain(talk.note_in, parcel.note);
  regain(talk.body_in, parcel.body);
  regain(talk.head_out, sent.head);
  regain(talk.note_out, sent.note);
  regain(talk.body_out, sent.body);
  talk.finished = true;
}

void Courier::swap(std::vector<Parcel>& in, const Fill& fill, const Expect& expect) {
  const int steps = group_.size();
  int first = 1;   // the first step that is not finished
  int opened = 1;  // the first that is not open
  Awaited awaited{.what = "frames"};
  // In step s every rank talks to the one s further and hears the one s before, so the ranks'
  // windows meet, and no rank is written to by all others at the same time.
  const auto turn = [&] {
    while (opened < steps && opened < first + window_) open(opened++, in, fill);
    for (int step = first; step < opened; ++step) {
      if (!talks_[static_cast<std::size_t>(step)].finished) advance(step, in, expect);
    }
    while (first < opened && talks_[static_cast<std::size_t>(first)].finished) ++first;
    if (first == steps) return true;
    awaited.peer = from(first);
    return false;
  };
  group_.deadline().wait(
      turn, [&] { return unfinished(first, opened); }, awaited);
}

std::string Courier::unfinished(int first, int opened) {
  std::vector<int> ranks;
  for (int step = first; step < opened; ++step) {
    Talk& talk = talks_[static_cast<std::size_t>(step)];
    if (talk.finished) continue;
    if (!talk.understood || !talk.note_in.test() || !talk.body_in.test()) {
      ranks.push_back(from(step));
    }
    if (!talk.head_out.test() || !talk.note_out.test() || !talk.body_out.test()) {
      ranks.push_back(to(step));
    }
  }
  return rank_names(ranks);
}
}  // namespace switchyard::comm
