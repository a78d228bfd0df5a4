// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How ranks of one node tell each other where things are, without a message: every rank has a line
/// for every other in its own segment, and two flags that say up to which round they are good.
#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/group.hpp"

namespace switchyard::comm {

/// What one rank tells another about a round. Offsets are bytes into the teller's segment.
struct BoardLine {
  std::int64_t rows = 0;
  std::int64_t row_list = 0;   ///< offset of `rows` numbers (int32), the rows meant for the reader
  std::int64_t first_row = 0;  ///< offset of row 0
  std::int64_t row_bytes = 0;
  std::int64_t note = 0;
  std::int64_t note_bytes = 0;
  std::int64_t results = 0;  ///< result rows that the reader will write
  std::int64_t slots = 0;    ///< offset where it writes them
  std::int64_t result_bytes = 0;
  std::int64_t more = 0;
};

/// A round has a number, from 1. A rank writes its lines, publishes the round, reads the others'
/// lines, works, and finishes the round; both are single stores. Lines of consecutive rounds lie in
/// two places in turn: a rank can be one round ahead of a reader, never two, for it takes everyone
/// to have published a round before anyone finishes reading it.
class NodeBoard {
 public:
  /// Collective. Offsets from 0 up to first_free() in each segment are the board's.
  NodeBoard(Group& group, std::int64_t capacity);

  [[nodiscard]] SharedMemory& memory() { return *memory_; }
  [[nodiscard]] std::int64_t first_free() const { return first_free_; }
  /// Where rank `of` has written what rank `reader` is to read.
  [[nodiscard]] BoardLine& line(int of, int reader, std::uint64_t round) const;
  /// Address of an offset in a rank's segment.
  [[nodiscard]] std::byte* at(int rank, std::int64_t offset) const {
    return memory_->of(rank) + offset;
  }

  void publish(std::uint64_t round);
  void finish(std::uint64_t round);
  /// Until that rank has published (finished) the round, within the deadline.
  void await_published(int rank, std::uint64_t round);
  void await_finished(int rank, std::uint64_t round);

 private:
  using Flag = std::atomic<std::uint64_t>;
  static_assert(Flag::is_always_lock_free, "flags are shared between processes");
  /// Each flag has a pair of cache lines of its own: neighbours would be fetched along.
  static constexpr std::int64_t kFlagBytes = 128;
  [[nodiscard]] Flag& flag(int rank, int which) const;
  void await(int rank, int which, std::uint64_t round);

  Group& group_;
  std::unique_ptr<SharedMemory> memory_;
  std::int64_t first_free_;
};
}  // namespace switchyard::comm
