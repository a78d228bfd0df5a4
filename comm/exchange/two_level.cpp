// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/two_level.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/base/words.hpp"

namespace switchyard::comm {
namespace {
// A few tenths of a millisecond awake, longer than a message takes on a fast network.
constexpr int kLooks = 40;
constexpr std::chrono::microseconds kNap{50};

constexpr Extent bytes_extent(std::int64_t bytes) {
  return {.row_bytes = 1, .rows = bytes};
}
}  // namespace

TwoLevelExchange::TwoLevelExchange(Group& group, Channel rows, Channel results, int stages,
                                   WireType wire)
    : RoundExchange(group, rows, "two-level"),
      stages_(stages),
      wire_(wire),
      rows_channel_(rows),
      board_(group),
      cuts_(static_cast<std::size_t>(stages)) {
  if (stages < 1 || stages > kMaxStages) {
    throw std::invalid_argument("stages: got " + std::to_string(stages) + ", want 1 to " +
                                std::to_string(kMaxStages));
  }
  const NodeMap& map = group.nodes();
  const int own = map.node_of[static_cast<std::size_t>(rank())];
  // Each begins with the node after its own, so that no node is written to by all at once.
  for (int step = 1; step < map.nodes; ++step) {
    const int node = (own + step) % map.nodes;
    outgoing_.emplace_back(node, Stream(group, rows, forwarder(rank(), node), Stream::Way::kOut));
  }
  for (int step = 1; step < size(); ++step) {
    const int other = (rank() + step) % size();
    if (same_node(other)) continue;
    if (forwarder(other, own) == rank()) {
      incoming_.emplace_back(Stream(group, rows, other, Stream::Way::kIn));
    }
    homes_.emplace_back(Stream(group, results, other, Stream::Way::kOut),
                        Stream(group, results, other, Stream::Way::kIn));
  }
}

TwoLevelExchange::~TwoLevelExchange() {
  if (!in_a_round()) return;
  // MPI, or a mate, may still read and write all of these.
  board_.abandon();
  for (Outgoing& out : outgoing_) out.rows.abandon();
  for (Incoming& in : incoming_) in.narrow.abandon();
  for (Home& home : homes_) {
    for (Buffer* buffer : {&home.in, &home.narrow_out, &home.narrow_in}) buffer->abandon();
  }
}

int TwoLevelExchange::forwarder(int source, int node) const {
  const NodeMap& map = board_.nodes();
  const auto& ranks = map.ranks_of[static_cast<std::size_t>(node)];
  return ranks[static_cast<std::size_t>(map.local_of[static_cast<std::size_t>(source)]) %
               ranks.size()];
}

bool TwoLevelExchange::same_node(int other) const {
  const auto& node_of = board_.nodes().node_of;
  return node_of[static_cast<std::size_t>(other)] == node_of[static_cast<std::size_t>(rank())];
}

std::int64_t TwoLevelExchange::wire_row(std::int64_t row_bytes) const {
  return wire_ == WireType::kFloat32 ? row_bytes : wire_bytes(wire_, row_bytes / 4);
}

std::uint64_t TwoLevelExchange::staged(int stages) const {
  return round() * (kMaxStages + 1) + static_cast<std::uint64_t>(stages);
}

const CrossLine& TwoLevelExchange::line_of(int source) const {
  const int own = board_.nodes().node_of[static_cast<std::size_t>(rank())];
  return board_.line(same_node(source) ? source : forwarder(source, own), source, rank());
}

void TwoLevelExchange::lay_out_own(const Offer& offer) {
  board_.rewind();
  result_bytes_offered_ = offer.result_bytes > 0 ? offer.result_bytes : offer.row_bytes;
  std::int64_t num_rows = 0;
  for (const int mate : board_.mates()) {
    const auto begin = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(mate)]);
    const auto end =
        static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(mate) + 1]);
    for (std::size_t i = begin; i < end; ++i) num_rows = std::max(num_rows, offer.rows[i] + 1);
  }
  if (num_rows > std::numeric_limits<std::int32_t>::max()) {
    throw std::invalid_argument("offer: row " + std::to_string(num_rows - 1) +
                                ", want 0 to 2147483646 within a node");
  }
  std::byte* const rows = board_.take(num_rows * offer.row_bytes);
  if (num_rows > 0) {
    std::memcpy(rows, offer.base, static_cast<std::size_t>(num_rows * offer.row_bytes));
  }
  own_rows_ = rows;
  for (const int mate : board_.mates()) {
    const std::int64_t count = count_of(offer.row_offsets, mate);
    const auto first = offer.rows.begin() + offer.row_offsets[static_cast<std::size_t>(mate)];
    auto* const list = reinterpret_cast<std::int32_t*>(
        board_.take(count * static_cast<std::int64_t>(sizeof(std::int32_t))));
    std::transform(first, first + count, list,
                   [](std::int64_t row) { return static_cast<std::int32_t>(row); });
    const auto note = note_for(offer, mate);
    std::byte* const note_copy = board_.take(static_cast<std::int64_t>(note.size()));
    if (!note.empty()) std::memcpy(note_copy, note.data(), note.size());
    board_.line(rank(), rank(), mate) = {
        .rows = count,
        .list = list,
        .first_row = rows,
        .row_bytes = offer.row_bytes,
        .note = note_copy,
        .note_bytes = static_cast<std::int64_t>(note.size()),
        .results = results_from(mate),
        .slots = board_.take(results_from(mate) * result_bytes_offered_),
        .more = offer.more ? 1 : 0,
        .edition = edition_number()};
    if (mate == rank()) continue;
    traffic_.wire_bytes += static_cast<std::int64_t>(sizeof(CrossLine)) +
                           count * (offer.row_bytes + std::int64_t{sizeof(std::int32_t)}) +
                           static_cast<std::int64_t>(note.size());
  }
}

void TwoLevelExchange::announce(Outgoing& out, const Offer& offer) {
  const int to = out.stream.peer();
  FrameHeader header = offer_header(FrameKind::kForward, offer, to);
  header.rows = static_cast<std::int64_t>(out.load.rows.size());
  header.results = static_cast<std::int32_t>(out.load.results);
  header.note_bytes = static_cast<std::int64_t>(out.load.manifest.size());
  out.head.resize(static_cast<std::size_t>(kFrameHeaderBytes));
  write_header(header, out.head.bytes());
  group().deadline().sends(out.head.bytes());
  out.manifest.resize(out.load.manifest.size());
  std::memcpy(out.manifest.data(), out.load.manifest.data(), out.load.manifest.size());
  out.head_out =
      group().send(to, rows_channel_, std::move(out.head), bytes_extent(kFrameHeaderBytes));
  out.manifest_out =
      group().send(to, rows_channel_, std::move(out.manifest), bytes_extent(header.note_bytes));
  traffic_.messages += 2;
  traffic_.wire_bytes += kFrameHeaderBytes + header.note_bytes;
  traffic_.between_nodes_bytes += kFrameHeaderBytes + header.note_bytes;
}

void TwoLevelExchange::pack(Outgoing& out, const Offer& offer) {
  const std::int64_t wire_row_bytes = wire_row(offer.row_bytes);
  out.rows.resize(out.load.rows.size() * static_cast<std::size_t>(wire_row_bytes));
  std::byte* to_row = out.rows.data();
  for (const std::int64_t row : out.load.rows) {
    const std::byte* const from = offer.base + row * offer.row_bytes;
    if (wire_ == WireType::kFloat32) {
      std::memcpy(to_row, from, static_cast<std::size_t>(offer.row_bytes));
    } else {
      narrow_rows(wire_, from, to_row, offer.row_bytes / 4, 0, 1);
    }
    to_row += wire_row_bytes;
  }
  for (std::size_t s = 0; s < cuts_.size(); ++s) {
    cuts_[s] = out.load.stage_rows[s] * wire_row_bytes;
  }
  out.stream.begin(out.rows.data(), cuts_);
}

void TwoLevelExchange::send_rows(int first_stage, int end_stage) {
  // By stages, not by nodes: a link is a queue, and what is needed first must stand in front.
  for (int stage = first_stage; stage < end_stage; ++stage) {
    const auto s = static_cast<std::size_t>(stage);
    for (Outgoing& out : outgoing_) {
      out.stream.allow(out.load.stage_rows[s] * wire_row(row_bytes_));
      out.stream.progress();
    }
  }
}

void TwoLevelExchange::carry_rows(const Offer& offer) {
  row_bytes_ = offer.row_bytes;
  marked_ = released_ = 0;
  forwarded_ = false;
  stage_results_.clear();
  for (int r = 0; r < size(); ++r) {
    for (int s = 0; s < stages_; ++s) stage_results_.push_back(results_until(offer, stages_, r, s));
  }
  for (Incoming& in : incoming_) {
    in.awaits = Incoming::Awaits::kHead;
    in.widened = 0;
    in.head_in = group().receive(in.from, rows_channel_, std::move(in.head),
                                 bytes_extent(kFrameHeaderBytes));
  }
  for (Outgoing& out : outgoing_) {
    const auto& ranks = board_.nodes().ranks_of[static_cast<std::size_t>(out.node)];
    out.load.pack(offer, stages_, ranks, numbers_);
  }
  for (Outgoing& out : outgoing_) announce(out, offer);  // all wait for these, so they go first
  for (Outgoing& out : outgoing_) pack(out, offer);
  send_rows(0, 1);
  lay_out_own(offer);
  board_.set(Mark::kPublished, round());
  wait([this] { return known(); });
  send_rows(1, stages_);  // now that they are not in front of somebody's announcement
  for (int r = 0; r < size(); ++r) {
    if (r != rank()) fill_arrival(r);
  }
  // An offer without stages is one of a caller who does not wait for them.
  if (offer.stage_rows.empty()) await_stage(stages_ - 1);
}

bool TwoLevelExchange::known() {
  progress();
  return forwarded_ && board_.all_have(Mark::kPublished, round()) &&
         board_.all_have(Mark::kForwarded, round());
}

void TwoLevelExchange::fill_arrival(int from) {
  const CrossLine& line = line_of(from);
  if (line.row_bytes != row_bytes_) {
    throw ProtocolError("rows from rank " + std::to_string(from) + " have " +
                        std::to_string(line.row_bytes) + " bytes, want " +
                        std::to_string(row_bytes_));
  }
  require_edition(from, line.edition);
  FrameHeader header;
  header.kind = FrameKind::kForward;
  header.from = from;
  header.to = rank();
  header.flags = line.more != 0 ? kMoreFlag : 0;
  header.sequence = round();
  header.rows = line.rows;
  header.row_bytes = static_cast<std::int32_t>(row_bytes_);
  header.results = static_cast<std::int32_t>(line.results);
  header.note_bytes = line.note_bytes;
  arrivals()[static_cast<std::size_t>(from)] = {
      .header = header, .note = {line.note, static_cast<std::size_t>(line.note_bytes)}};
}

void TwoLevelExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  const CrossLine& line = line_of(from);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = line.first_row + line.list[i] * line.row_bytes;
  }
}

void TwoLevelExchange::advance(Incoming& in) {
  if (in.awaits == Incoming::Awaits::kHead && in.head_in.test()) {
    in.head = in.head_in.take();
    in.header = read_header(std::as_const(in.head).bytes().first(kFrameHeaderBytes),
                            expect(FrameKind::kForward, in.from, -1));
    in.manifest_bytes = {board_.take(in.header.note_bytes),
                         static_cast<std::size_t>(in.header.note_bytes)};
    in.manifest_in = group().receive(in.from, rows_channel_, Buffer::borrow(in.manifest_bytes),
                                     bytes_extent(in.header.note_bytes));
    in.awaits = Incoming::Awaits::kManifest;
  }
  if (in.awaits == Incoming::Awaits::kManifest && in.manifest_in.test()) {
    static_cast<void>(in.manifest_in.take());
    take_in(in);
    in.awaits = Incoming::Awaits::kRows;
  }
  if (in.awaits != Incoming::Awaits::kRows || in.stream.finished()) return;
  in.stream.progress();
  if (wire_ == WireType::kFloat32) return;
  const std::int64_t here = in.stream.done() / wire_row(row_bytes_);
  widen_rows(wire_, in.narrow.data(), in.rows, row_bytes_ / 4, in.widened, here);
  in.widened = here;
}

void TwoLevelExchange::take_in(Incoming& in) {
  read_manifest(in.manifest_bytes, in.from, stages_, board_.mates(), in.header.rows,
                in.header.results, in.manifest);
  in.rows = board_.take(in.header.rows * row_bytes_);
  for (std::size_t i = 0; i < board_.mates().size(); ++i) {
    const ManifestShare& share = in.manifest.shares[i];
    board_.line(rank(), in.from, board_.mates()[i]) = {
        .rows = share.rows,
        .list = share.list,
        .first_row = in.rows,
        .row_bytes = row_bytes_,
        .note = share.note,
        .note_bytes = share.note_bytes,
        .results = share.results,
        .stage_results = share.stage_results,
        .more = (in.header.flags & kMoreFlag) != 0 ? 1 : 0,
        .edition = in.header.edition};
  }
  const std::int64_t wire_row_bytes = wire_row(row_bytes_);
  for (std::size_t s = 0; s < cuts_.size(); ++s) {
    cuts_[s] = in.manifest.stage_rows[s] * wire_row_bytes;
  }
  std::byte* to = in.rows;
  if (wire_ != WireType::kFloat32) {
    in.narrow.resize(static_cast<std::size_t>(in.header.rows * wire_row_bytes));
    to = in.narrow.data();
  }
  in.stream.begin(to, cuts_);
}

void TwoLevelExchange::mark_stages() {
  if (!forwarded_) {
    forwarded_ = std::ranges::all_of(
        incoming_, [](const Incoming& in) { return in.awaits == Incoming::Awaits::kRows; });
    if (!forwarded_) return;
    board_.set(Mark::kForwarded, round());
  }
  const int before = marked_;
  const std::int64_t wire_row_bytes = wire_row(row_bytes_);
  const auto here = [&](const Incoming& in) {
    return in.stream.done() >= in.manifest.stage_rows[marked_] * wire_row_bytes;
  };
  while (marked_ < stages_ && std::ranges::all_of(incoming_, here)) ++marked_;
  if (marked_ != before) board_.set(Mark::kStaged, staged(marked_));
}

void TwoLevelExchange::progress() {
  for (Incoming& in : incoming_) advance(in);
  if (marked_ < stages_) mark_stages();
  for (Outgoing& out : outgoing_) {
    if (!out.head_out.empty() && out.head_out.test()) out.head = out.head_out.take();
    if (!out.manifest_out.empty() && out.manifest_out.test()) {
      out.manifest = out.manifest_out.take();
    }
    out.stream.progress();
  }
  for (Home& home : homes_) advance(home);
}

void TwoLevelExchange::await_stage(int stage) {
  wait([this, stage] {
    progress();
    return board_.all_have(Mark::kStaged, staged(stage + 1));
  });
}

void TwoLevelExchange::wait(const std::function<bool()>& done) {
  struct Wait {
    TwoLevelExchange& exchange;
    const std::function<bool()>& done;
    int looks = 0;
    bool over() {
      if (done()) return true;
      exchange.group().require_everyone();
      // Ranks may share cores: who only waits for a link leaves them to those who compute.
      if (++looks > kLooks) std::this_thread::sleep_for(kNap);
      return false;
    }
  } wait{*this, done};  // captured as one reference: nothing is allocated
  group().deadline().wait([&wait] { return wait.over(); }, [this] { return late(); });
}

std::string TwoLevelExchange::late() const {
  std::vector<int> ranks;
  for (const Incoming& in : incoming_) {
    if (in.awaits != Incoming::Awaits::kRows || !in.stream.finished()) ranks.push_back(in.from);
  }
  for (const Outgoing& out : outgoing_) {
    if (!out.head_out.empty() || !out.manifest_out.empty() || !out.stream.finished()) {
      ranks.push_back(out.stream.peer());
    }
  }
  for (const Home& home : homes_) {
    // Before open_returns both are finished: their lengths are those of the round before.
    if (!home.received.finished()) ranks.push_back(home.rank);
    if (released_ == stages_ && !home.sent.finished()) ranks.push_back(home.rank);
  }
  for (const int mate : board_.mates()) {
    if (mate == rank()) continue;
    const bool arrived =
        board_.has(mate, Mark::kPublished, round()) && board_.has(mate, Mark::kForwarded, round());
    const bool done = released_ == stages_
                          ? board_.has(mate, Mark::kFinished, round())
                          : arrived && board_.has(mate, Mark::kStaged, staged(stages_));
    if (!done) ranks.push_back(mate);
  }
  return rank_names(ranks);
}
}  // namespace switchyard::comm
