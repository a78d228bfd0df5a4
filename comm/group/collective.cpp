// SPDX-License-Identifier: Apache-2.0
#include "comm/group/collective.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

#include "comm/base/error.hpp"
#include "comm/base/words.hpp"

// Binomial trees with rank 0 at the root: rank r's parent is r without its lowest set bit, and the
// subtree under r holds the consecutive ranks from r up to r + that bit. All ranks call the same
// collectives in the same order and messages of a pair keep theirs; each sheaf says what it belongs
// to, so that a rank that is somewhere else is found out and not believed.

namespace switchyard::comm {
namespace {
using Bytes = std::vector<std::byte>;

// A payload of any size goes in pieces, so that no count comes near 2^31.
constexpr std::size_t kPiece = std::size_t{1} << 28;

int lowest_bit(int rank, int size) {
  if (rank > 0) return rank & -rank;
  int bit = 1;
  while (bit < size) bit *= 2;
  return bit;
}

void send_bytes(Group& group, int to, Channel channel, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    const std::size_t length = std::min(kPiece, bytes.size() - at);
    Buffer buffer(length);
    std::memcpy(buffer.data(), bytes.data() + at, length);
    Pending pending = group.send(to, channel, std::move(buffer),
                                 Extent{.row_bytes = 1, .rows = static_cast<std::int64_t>(length)});
    group.wait(pending);
  }
}

void receive_bytes(Group& group, int from, Channel channel, std::span<std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
    const std::size_t length = std::min(kPiece, bytes.size() - at);
    Pending pending =
        group.receive(from, channel, Buffer(length),
                      Extent{.row_bytes = 1, .rows = static_cast<std::int64_t>(length)});
    group.wait(pending);
    const Buffer piece = pending.take();
    std::memcpy(bytes.data() + at, piece.data(), length);
  }
}

/// Which collective a message belongs to: its name, and how many meetings its rank has entered.
struct Stamp {
  std::array<char, 16> name{};
  std::int64_t number = 0;
};

/// Enters a collective, or does what a fault plan wants instead.
/// @return  false: this rank is to go on as if there were none
bool enter(Group& group, std::string_view name) {
  switch (group.deadline().meet({.what = name})) {
    case Attendance::kEnter:
      return true;
    case Attendance::kSkip:
      return false;
    case Attendance::kElsewhere:
      if (name == "barrier") {
        static_cast<void>(broadcast(group, {}));
      } else {
        barrier(group);
      }
      return false;
  }
  return true;
}

Stamp stamp_of(Group& group, std::string_view name) {
  Stamp stamp{.number = group.deadline().meetings()};
  name.copy(stamp.name.data(), stamp.name.size() - 1);
  return stamp;
}

/// The bytes of consecutive ranks, one after the other.
struct Sheaf {
  Stamp stamp;
  std::vector<std::uint64_t> sizes;
  Bytes bytes;
};

std::string show(const Stamp& stamp) {
  return std::string(stamp.name.data()) + " (meeting " + std::to_string(stamp.number) + ")";
}

void send_sheaf(Group& group, int to, Channel channel, const Sheaf& sheaf) {
  send_bytes(group, to, channel, std::as_bytes(std::span(&sheaf.stamp, 1)));
  send_bytes(group, to, channel, std::as_bytes(std::span(sheaf.sizes)));
  send_bytes(group, to, channel, sheaf.bytes);
}

/// Appends what `from` has for `ranks` ranks.
/// @throws ProtocolError  it is in another collective: "rank 1 entered barrier (meeting 7), want
///         allgather (meeting 8) as this rank"
void receive_sheaf(Group& group, int from, Channel channel, int ranks, Sheaf& sheaf) {
  Stamp stamp;
  receive_bytes(group, from, channel, std::as_writable_bytes(std::span(&stamp, 1)));
  if (stamp.number != sheaf.stamp.number || stamp.name != sheaf.stamp.name) {
    stamp.name.back() = '\0';
    throw ProtocolError("rank " + std::to_string(from) + " entered " + show(stamp) + ", want " +
                        show(sheaf.stamp) + " as this rank");
  }
  const std::size_t had = sheaf.sizes.size();
  sheaf.sizes.resize(had + static_cast<std::size_t>(ranks));
  const std::span<std::uint64_t> sizes = std::span(sheaf.sizes).subspan(had);
  receive_bytes(group, from, channel, std::as_writable_bytes(sizes));
  std::uint64_t total = 0;
  for (const std::uint64_t size : sizes) total += size;
  const std::size_t at = sheaf.bytes.size();
  sheaf.bytes.resize(at + total);
  receive_bytes(group, from, channel, std::span(sheaf.bytes).subspan(at));
}

/// On rank 0 everyone's, elsewhere what the subtree had.
Sheaf gather_sheaf(Group& group, std::string_view name, std::span<const std::byte> mine,
                   Channel channel) {
  Sheaf sheaf{
      .stamp = stamp_of(group, name), .sizes = {mine.size()}, .bytes = {mine.begin(), mine.end()}};
  const int rank = group.rank();
  const int size = group.size();
  const int below = lowest_bit(rank, size);
  for (int bit = 1; bit < below && rank + bit < size; bit *= 2) {
    receive_sheaf(group, rank + bit, channel, std::min(bit, size - rank - bit), sheaf);
  }
  if (rank > 0) send_sheaf(group, rank - below, channel, sheaf);
  return sheaf;
}

/// `sheaf` of rank 0, with as many entries as `entries`, on every rank.
void spread_sheaf(Group& group, Sheaf& sheaf, int entries, Channel channel) {
  const int rank = group.rank();
  const int below = lowest_bit(rank, group.size());
  if (rank > 0) {
    sheaf = {.stamp = sheaf.stamp, .sizes = {}, .bytes = {}};
    receive_sheaf(group, rank - below, channel, entries, sheaf);
  }
  for (int bit = below / 2; bit >= 1; bit /= 2) {  // the largest subtree first: it takes longest
    if (rank + bit < group.size()) send_sheaf(group, rank + bit, channel, sheaf);
  }
}

std::vector<Bytes> untie(const Sheaf& sheaf) {
  std::vector<Bytes> all;
  auto at = sheaf.bytes.begin();
  for (const std::uint64_t size : sheaf.sizes) {
    const auto end = at + static_cast<std::ptrdiff_t>(size);
    all.emplace_back(at, end);
    at = end;
  }
  return all;
}
}  // namespace

std::vector<Bytes> allgather(Group& group, std::span<const std::byte> mine, Channel channel) {
  if (!enter(group, "allgather")) {
    return std::vector<Bytes>(static_cast<std::size_t>(group.size()), {mine.begin(), mine.end()});
  }
  Sheaf sheaf = gather_sheaf(group, "allgather", mine, channel);
  spread_sheaf(group, sheaf, group.size(), channel);
  return untie(sheaf);
}

std::vector<Bytes> gather(Group& group, std::span<const std::byte> mine) {
  std::vector<Bytes> nothing(static_cast<std::size_t>(group.size()));
  if (!enter(group, "gather")) return nothing;
  const Sheaf sheaf = gather_sheaf(group, "gather", mine, kCollectives);
  if (group.rank() > 0) return nothing;
  return untie(sheaf);
}

void stream_to_root(Group& group, std::span<const std::byte> mine,
                    const std::function<void(int, std::span<const std::byte>)>& sink) {
  constexpr std::size_t kMost = std::size_t{16} << 20;
  const std::uint64_t size = mine.size();
  const auto sizes = allgather_values<std::uint64_t>(group, std::span(&size, 1));
  for (int rank = 0; rank < group.size(); ++rank) {
    const std::size_t total = sizes[static_cast<std::size_t>(rank)][0];
    for (std::size_t at = 0; at < total; at += kMost) {
      const std::size_t length = std::min(kMost, total - at);
      if (rank == 0) {
        if (group.rank() == 0) sink(0, mine.subspan(at, length));
      } else if (group.rank() == rank) {
        send_bytes(group, 0, kCollectives, mine.subspan(at, length));
      } else if (group.rank() == 0) {
        Bytes piece(length);
        receive_bytes(group, rank, kCollectives, piece);
        sink(rank, piece);
      }
    }
  }
}

Bytes broadcast(Group& group, std::span<const std::byte> bytes) {
  if (!enter(group, "broadcast")) return {bytes.begin(), bytes.end()};
  Sheaf sheaf{.stamp = stamp_of(group, "broadcast"), .sizes = {}, .bytes = {}};
  if (group.rank() == 0) {
    sheaf.sizes = {bytes.size()};
    sheaf.bytes = {bytes.begin(), bytes.end()};
  }
  spread_sheaf(group, sheaf, 1, kCollectives);
  return std::move(sheaf.bytes);
}

void barrier(Group& group) {
  if (!enter(group, "barrier")) return;
  Sheaf sheaf = gather_sheaf(group, "barrier", {}, kCollectives);
  spread_sheaf(group, sheaf, group.size(), kCollectives);
}

void agree(Group& group, const std::optional<Problem>& mine) {
  static_cast<void>(agree(group, mine, {}));
}

std::vector<Bytes> agree(Group& group, const std::optional<Problem>& mine,
                         std::span<const std::byte> note) {
  // The status in four bytes, 0 where there is no problem; then the message, or the note.
  const std::int32_t status = mine.has_value() ? mine->status : 0;
  const auto rest = mine.has_value() ? std::as_bytes(std::span(mine->message)) : note;
  Bytes words(sizeof status + rest.size());
  std::memcpy(words.data(), &status, sizeof status);
  std::ranges::copy(rest, words.begin() + sizeof status);
  std::vector<Bytes> all = allgather(group, words);
  std::optional<int> first;
  std::int64_t others = 0;
  std::int32_t worst = 0;  // of the first
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    std::int32_t theirs = 0;
    if (all[rank].size() < sizeof theirs) throw ProtocolError("agree: a note without a status");
    std::memcpy(&theirs, all[rank].data(), sizeof theirs);
    all[rank].erase(all[rank].begin(), all[rank].begin() + sizeof theirs);
    if (theirs == 0) continue;
    if (first) {
      ++others;
    } else {
      first = static_cast<int>(rank);
      worst = theirs;
    }
  }
  if (!first) return all;
  const Bytes& words_of_first = all[static_cast<std::size_t>(*first)];
  std::string message(words_of_first.size(), '\0');
  if (!message.empty()) std::memcpy(message.data(), words_of_first.data(), message.size());
  message = "rank " + std::to_string(*first) + ": " + message;
  if (others > 0) message += " (and " + counted(others, "other rank") + ")";
  throw CollectiveError(*first, worst, message);
}
}  // namespace switchyard::comm
