// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A long message to or from one rank as a chain of short ones, of which a window is in flight.
#include <cstdint>
#include <span>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// Below 64 KiB, the eager limit of Open MPI over TCP, with room for its own header.
inline constexpr std::int64_t kPieceBytes = 63 * 1024;

/// Why short: what fits MPI's eager limit is written to the socket at once and needs no answer, so
/// that the kernel sends while this rank computes, and both directions of a link are used. Longer
/// messages wait for a handshake, and Open MPI's TCP then serves one direction at a time (measured:
/// 14 MB/s each way on links of 25 MB/s, 24 in pieces).
class Stream {
 public:
  enum class Way { kOut, kIn };
  Stream(Group& group, Channel channel, int peer, Way way);

  /// Begins with bytes from `data` on, which must stay until the stream is finished. Both ends give
  /// the same cuts, for no piece crosses one.
  /// @param cuts  where stages end, in bytes; rises, and the last is the length
  void begin(std::byte* data, std::span<const std::int64_t> cuts);
  /// Out: the first `bytes`, up to a cut, may leave. In: all may come from the start.
  void allow(std::int64_t bytes) { allowed_ = bytes; }
  /// Starts and completes what can be; never waits.
  void progress();
  /// How many bytes from the start are through.
  [[nodiscard]] std::int64_t done() const { return done_; }
  [[nodiscard]] bool finished() const { return done_ == length(); }
  [[nodiscard]] int peer() const { return peer_; }
  [[nodiscard]] std::int64_t length() const { return cuts_.empty() ? 0 : cuts_.back(); }
  /// Messages started since construction.
  [[nodiscard]] std::int64_t messages() const { return messages_; }

 private:
  struct Piece {
    Pending pending;
    std::int64_t bytes = 0;
  };
  void start_pieces();

  Group* group_;
  Channel channel_;
  int peer_;
  Way way_;
  std::byte* data_ = nullptr;
  std::vector<std::int64_t> cuts_;
  std::size_t cut_ = 0;        ///< the stage that the next piece belongs to
  std::int64_t allowed_ = 0;   ///< bytes that may be started
  std::int64_t started_ = 0;   ///< bytes that are
  std::int64_t done_ = 0;      ///< bytes that are through
  std::vector<Piece> window_;  ///< a ring
  std::size_t oldest_ = 0;
  std::size_t in_flight_ = 0;
  std::int64_t messages_ = 0;
};
}  // namespace switchyard::comm
