// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/relay.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "comm/base/error.hpp"
#include "comm/base/hollow.hpp"
#include "comm/exchange/relay_note.hpp"

namespace switchyard::comm {
namespace {
void put_note(Parcel& parcel, const std::vector<std::byte>& note) {
  parcel.header.note_bytes = static_cast<std::int64_t>(note.size());
  parcel.note.resize(note.size());
  if (!note.empty()) std::memcpy(parcel.note.data(), note.data(), note.size());
}

std::span<const std::byte> note_of(const Parcel& parcel) {
  return parcel.note.bytes().first(static_cast<std::size_t>(parcel.header.note_bytes));
}

void require_rows(std::int64_t got, std::int64_t want, int from) {
  if (got == want) return;
  throw ProtocolError("note from rank " + std::to_string(from) + ": " + std::to_string(got) +
                      " rows, want " + std::to_string(want) + " as its header says");
}
}  // namespace

RelayExchange::RelayExchange(Group& group, Channel channel, int window)
    : RoundExchange(group, channel, "relay"),
      map_(group.nodes()),
      mates_(map_.mates_of(group.rank())),
      node_(map_.node_of[static_cast<std::size_t>(group.rank())]),
      local_(static_cast<std::size_t>(map_.local_of[static_cast<std::size_t>(group.rank())])),
      trades_(mates_.size()),
      trade_(group, channel, window),
      sources_(static_cast<std::size_t>(group.size())) {
  for (int node = 0; node < map_.nodes; ++node) {
    if (node != node_) trades_[static_cast<std::size_t>(node) % mates_.size()].push_back(node);
  }
  for (const int node : trades_[local_]) {
    passing_.emplace_back(mates_.size());
    coming_.emplace_back(ranks_of(node).size());
  }
  make_legs();
}

void RelayExchange::make_legs() {
  const std::size_t mates = mates_.size();
  for (std::size_t step = 1; step < mates; ++step) {
    const int next = mates_[(local_ + step) % mates];
    const int before = mates_[(local_ + mates - step) % mates];
    for (Step* const to : {&gather_, &scatter_, &back_, &home_}) {
      to->out.emplace_back(next);
      to->in.emplace_back(before);
    }
  }
  // The node that is so far ahead has this one as far behind: windows meet.
  const auto& far = trades_[local_];
  const auto ordered = [&](bool out) {
    std::vector<std::size_t> order(far.size());
    for (std::size_t i = 0; i < far.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](std::size_t i) {
      return ((out ? far[i] - node_ : node_ - far[i]) + map_.nodes) % map_.nodes;
    });
    return order;
  };
  for (const bool out : {true, false}) {
    const auto order = ordered(out);
    auto& leg_of_far = out ? far_out_ : far_in_;
    leg_of_far.resize(far.size());
    for (std::size_t leg = 0; leg < order.size(); ++leg) {
      const auto& there = ranks_of(far[order[leg]]);
      const int peer = there[static_cast<std::size_t>(node_) % there.size()];
      leg_of_far[order[leg]] = leg;
      (out ? across_.out : across_.in).emplace_back(peer);
      (out ? recross_.out : recross_.in).emplace_back(peer);
    }
  }
}

std::size_t RelayExchange::leg_of(std::size_t mate) const {
  // Of an `in` list; those who wrote before are counted backwards.
  return (local_ + mates_.size() - mate) % mates_.size() - 1;
}

void RelayExchange::size_body(Parcel& parcel, std::int64_t rows, std::int64_t row_bytes) const {
  parcel.header.rows = rows;
  parcel.header.row_bytes = static_cast<std::int32_t>(row_bytes);
  const auto bytes = static_cast<std::size_t>(rows * row_bytes);
  if (hollow_) {
    parcel.body = hollow_buffer(bytes);
  } else {
    parcel.body.resize(bytes);
  }
}

void RelayExchange::copy(std::byte* to, const std::byte* from, std::int64_t bytes) const {
  if (!hollow_ && bytes > 0) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

void RelayExchange::carry_rows(const Offer& offer) {
  hollow_ = is_hollow(offer.base);
  row_bytes_ = offer.row_bytes;
  gather(offer);
  across(offer);
  scatter();
  name_arrivals();
}

void RelayExchange::gather(const Offer& offer) {
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    const int to = mates_[mate];
    const bool own = mate == local_;
    note_.clear();
    rows_.clear();
    const auto note = note_for(offer, to);
    const std::int64_t direct = own ? 0 : count_of(offer.row_offsets, to);
    notes::append(note_, Load{.rows = static_cast<std::int32_t>(direct),
                              .results = static_cast<std::int32_t>(results_from(to)),
                              .bytes = static_cast<std::int32_t>(own ? 0 : note.size()),
                              .more = offer.more ? 1 : 0});
    notes::append_padded(note_, own ? std::span<const std::byte>() : note);
    const auto first = offer.rows.begin() + offer.row_offsets[static_cast<std::size_t>(to)];
    rows_.assign(first, first + direct);
    for (std::size_t far = 0; far < trades_[mate].size(); ++far) {
      load_.pack(offer, 1, ranks_of(trades_[mate][far]), numbers_);
      notes::append(note_, Load{.rows = static_cast<std::int32_t>(load_.rows.size()),
                                .results = static_cast<std::int32_t>(load_.results),
                                .bytes = static_cast<std::int32_t>(load_.manifest.size()),
                                .more = offer.more ? 1 : 0});
      notes::append_padded(note_, load_.manifest);
      rows_.insert(rows_.end(), load_.rows.begin(), load_.rows.end());
      if (own) passing_[far][local_].own_rows = load_.rows;
    }
    if (own) {
      own_bundle_ = note_;
      continue;
    }
    Parcel& parcel = gather_.out[(mate + mates_.size() - local_) % mates_.size() - 1].parcel;
    parcel.header = offer_header(FrameKind::kForward, offer, to);
    put_note(parcel, note_);
    size_body(parcel, static_cast<std::int64_t>(rows_.size()), row_bytes_);
    std::byte* row = parcel.body.data();
    for (std::size_t i = 0; i < rows_.size() && !hollow_; ++i, row += row_bytes_) {
      copy(row, offer.base + rows_[i] * row_bytes_, row_bytes_);
    }
  }
  const auto expected = [this](int from) { return expect(FrameKind::kForward, from, -1); };
  trade_.frames(gather_.out, gather_.in, expected, hollow_);
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mate == local_) {
      open_bundle(mates_[mate], own_bundle_, nullptr);
      continue;
    }
    const Parcel& parcel = gather_.in[leg_of(mate)].parcel;
    open_bundle(mates_[mate], note_of(parcel), parcel.body.data());
  }
}

void RelayExchange::open_bundle(int mate, std::span<const std::byte> note, const std::byte* rows) {
  const auto place = static_cast<std::size_t>(map_.local_of[static_cast<std::size_t>(mate)]);
  notes::Reader reader(note, mate);
  std::int64_t row = 0;
  const auto after = [&](const Load& load) {
    const std::byte* const here = rows == nullptr ? nullptr
                                  : hollow_       ? rows
                                                  : rows + row * row_bytes_;
    row += load.rows;
    return here;
  };
  Source& direct = sources_[static_cast<std::size_t>(mate)];
  direct.load = reader.value<Load>();
  direct.note = reader.padded(direct.load.bytes);
  direct.first = after(direct.load);
  direct.list = nullptr;
  for (std::size_t far = 0; far < passing_.size(); ++far) {
    Passing& passing = passing_[far][place];
    passing.load = reader.value<Load>();
    passing.manifest = reader.padded(passing.load.bytes);
    passing.rows = after(passing.load);
    Manifest manifest;
    read_manifest(passing.manifest, mate, 1, ranks_of(trades_[local_][far]), passing.load.rows,
                  passing.load.results, manifest);
    passing.results.clear();
    for (const ManifestShare& share : manifest.shares) passing.results.push_back(share.results);
  }
  reader.require_end();
  if (rows != nullptr) require_rows(row, gather_.in[leg_of(place)].parcel.header.rows, mate);
}

void RelayExchange::across(const Offer& offer) {
  for (std::size_t far = 0; far < passing_.size(); ++far) {
    Leg& leg = across_.out[far_out_[far]];
    note_.clear();
    std::int64_t rows = 0;
    std::int64_t results = 0;
    for (const Passing& passing : passing_[far]) {
      notes::append(note_, passing.load);
      notes::append_padded(note_, passing.manifest);
      rows += passing.load.rows;
      results += passing.load.results;
    }
    if (results > std::numeric_limits<std::int32_t>::max()) {
      throw std::invalid_argument("relay: " + std::to_string(results) +
                                  " results of one node, want at most 2147483647");
    }
    leg.parcel.header = result_header(FrameKind::kForward, rows, leg.peer);
    leg.parcel.header.results = static_cast<std::int32_t>(results);
    put_note(leg.parcel, note_);
    size_body(leg.parcel, rows, row_bytes_);
    std::byte* row = leg.parcel.body.data();
    for (const Passing& passing : passing_[far]) {
      if (hollow_) break;
      if (passing.rows != nullptr) {
        copy(row, passing.rows, passing.load.rows * row_bytes_);
        row += passing.load.rows * row_bytes_;
        continue;
      }
      for (const std::int64_t own : passing.own_rows) {
        copy(row, offer.base + own * row_bytes_, row_bytes_);
        row += row_bytes_;
      }
    }
  }
  const auto expected = [this](int from) { return expect(FrameKind::kForward, from, -1); };
  trade_.frames(across_.out, across_.in, expected, hollow_);
  for (std::size_t far = 0; far < coming_.size(); ++far) open_across(far);
}

void RelayExchange::open_across(std::size_t far) {
  const Leg& leg = across_.in[far_in_[far]];
  notes::Reader reader(note_of(leg.parcel), leg.peer);
  std::int64_t row = 0;
  for (Coming& coming : coming_[far]) {
    coming.load = reader.value<Load>();
    const auto manifest = reader.padded(coming.load.bytes);
    read_manifest(manifest, leg.peer, 1, mates_, coming.load.rows, coming.load.results,
                  coming.manifest);
    coming.rows = hollow_ ? leg.parcel.body.data() : leg.parcel.body.data() + row * row_bytes_;
    row += coming.load.rows;
  }
  reader.require_end();
  require_rows(row, leg.parcel.header.rows, leg.peer);
}

void RelayExchange::scatter() {
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mate == local_) continue;
    Leg& leg = scatter_.out[(mate + mates_.size() - local_) % mates_.size() - 1];
    note_.clear();
    std::int64_t rows = 0;
    for (const auto& of_node : coming_) {
      for (const Coming& coming : of_node) {
        const ManifestShare& share = coming.manifest.shares[mate];
        notes::append(note_, Load{.rows = share.rows,
                                  .results = share.results,
                                  .bytes = share.note_bytes,
                                  .more = coming.load.more});
        notes::append_padded(note_, {share.note, static_cast<std::size_t>(share.note_bytes)});
        rows += share.rows;
      }
    }
    leg.parcel.header = result_header(FrameKind::kForward, rows, leg.peer);
    put_note(leg.parcel, note_);
    size_body(leg.parcel, rows, row_bytes_);
    std::byte* row = leg.parcel.body.data();
    for (const auto& of_node : coming_) {
      for (const Coming& coming : of_node) {
        const ManifestShare& share = coming.manifest.shares[mate];
        for (std::int32_t i = 0; i < share.rows && !hollow_; ++i, row += row_bytes_) {
          copy(row, coming.rows + share.list[i] * row_bytes_, row_bytes_);
        }
      }
    }
  }
  const auto expected = [this](int from) { return expect(FrameKind::kForward, from, -1); };
  trade_.frames(scatter_.out, scatter_.in, expected, hollow_);
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mate == local_) continue;
    const Parcel& parcel = scatter_.in[leg_of(mate)].parcel;
    open_scattered(static_cast<int>(mate), note_of(parcel), parcel.body.data());
  }
  for (std::size_t far = 0; far < coming_.size(); ++far) {
    const auto& there = ranks_of(trades_[local_][far]);
    for (std::size_t i = 0; i < there.size(); ++i) {
      const Coming& coming = coming_[far][i];
      const ManifestShare& share = coming.manifest.shares[local_];
      sources_[static_cast<std::size_t>(there[i])] = {
          .load = {.rows = share.rows,
                   .results = share.results,
                   .bytes = share.note_bytes,
                   .more = coming.load.more},
          .note = {share.note, static_cast<std::size_t>(share.note_bytes)},
          .first = coming.rows,
          .list = share.list};
    }
  }
}

void RelayExchange::open_scattered(int mate, std::span<const std::byte> note,
                                   const std::byte* rows) {
  const int from = mates_[static_cast<std::size_t>(mate)];
  notes::Reader reader(note, from);
  std::int64_t row = 0;
  for (const int node : trades_[static_cast<std::size_t>(mate)]) {
    for (const int rank : ranks_of(node)) {
      Source& source = sources_[static_cast<std::size_t>(rank)];
      source.load = reader.value<Load>();
      source.note = reader.padded(source.load.bytes);
      source.first = hollow_ ? rows : rows + row * row_bytes_;
      source.list = nullptr;
      row += source.load.rows;
    }
  }
  reader.require_end();
  require_rows(row, scatter_.in[leg_of(static_cast<std::size_t>(mate))].parcel.header.rows, from);
}

void RelayExchange::name_arrivals() {
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    const Source& source = sources_[static_cast<std::size_t>(r)];
    if (source.load.rows < 0 || source.load.results < 0) {
      throw ProtocolError("relay: rank " + std::to_string(r) + " has " +
                          std::to_string(source.load.rows) + " rows and " +
                          std::to_string(source.load.results) + " results, want none below 0");
    }
    FrameHeader header;
    header.kind = FrameKind::kForward;
    header.from = r;
    header.to = rank();
    header.flags = source.load.more != 0 ? kMoreFlag : 0;
    header.sequence = round();
    header.rows = source.load.rows;
    header.row_bytes = static_cast<std::int32_t>(row_bytes_);
    header.results = source.load.results;
    header.note_bytes = source.load.bytes;
    arrivals()[static_cast<std::size_t>(r)] = {.header = header, .note = source.note};
  }
}

void RelayExchange::locate_rows(int from, std::span<const std::byte*> rows) const {
  const Source& source = sources_[static_cast<std::size_t>(from)];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto number = source.list == nullptr ? static_cast<std::int64_t>(i) : source.list[i];
    rows[i] = hollow_ ? source.first : source.first + number * row_bytes_;
  }
}
}  // namespace switchyard::comm
