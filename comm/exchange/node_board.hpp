// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How ranks of one node tell each other where things are, without a message: a line from each to
/// each that it has something for, and two flags a rank that say up to which round they are good.
/// All of it lies together in the lowest rank's segment, where a look at every mate takes few pages
/// and few cache lines.
#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// What one rank tells another about a round. Offsets are bytes into the teller's segment.
struct alignas(64) BoardLine {
  std::int64_t row_list = 0;   ///< offset of `rows` numbers (int32), the rows meant for the reader
  std::int64_t first_row = 0;  ///< offset of row 0
  std::int64_t note = 0;
  std::int64_t note_bytes = 0;
  std::int64_t slots = 0;  ///< offset where the reader writes its results
  std::int32_t rows = 0;
  std::int32_t row_bytes = 0;
  std::int32_t results = 0;  ///< result rows that the reader will write
  std::int32_t result_bytes = 0;
  std::uint32_t edition = 0;  ///< of the teller: Exchange::edition
};
static_assert(sizeof(BoardLine) == 64);

/// A round has a number, from 1. A rank opens it, tells mates what it has for them, publishes the
/// round, reads what it was told, works, and finishes the round; publishing and finishing are
/// single stores. What is told in consecutive rounds lies in two places in turn: a rank can be one
/// round ahead of a reader, never two, for it takes everyone to have published a round before
/// anyone finishes reading it.
class NodeBoard {
 public:
  /// Collective. Offsets from first_free() in this rank's segment are the caller's.
  NodeBoard(Group& group, std::int64_t capacity);

  [[nodiscard]] SharedMemory& memory() { return *memory_; }
  [[nodiscard]] std::int64_t first_free() const { return first_free_; }
  /// Address of an offset in a rank's segment.
  [[nodiscard]] std::byte* at(int rank, std::int64_t offset) const {
    return memory_->of(rank) + offset;
  }

  /// Nobody is told anything yet. @param more  this rank has another round after this one
  void open(std::uint64_t round, bool more);
  void tell(int reader, std::uint64_t round, const BoardLine& line);
  void publish(std::uint64_t round);
  void finish(std::uint64_t round);

  /// Until all have published the round; until all that this rank told anything in it have finished
  /// it, for they may still be reading or writing. Within the deadline.
  void await_published(std::uint64_t round);
  void await_finished(std::uint64_t round);

  /// What that rank has told that reader; null: nothing. @pre it has published the round
  [[nodiscard]] const BoardLine* told(int by, int reader, std::uint64_t round) const;
  [[nodiscard]] bool more(int of, std::uint64_t round) const { return bit(of, of, round); }

 private:
  using Flag = std::atomic<std::uint64_t>;
  static_assert(Flag::is_always_lock_free, "flags are shared between processes");
  enum class What { kPublished, kFinished };
  /// Where ranks that share processors sleep until all have published a round.
  struct Gate;
  [[nodiscard]] Flag& flag(int rank, What what) const;
  /// For rounds of either parity a bit for each rank that was told something; the teller's own says
  /// that it has more.
  [[nodiscard]] std::uint64_t* bits(int by, std::uint64_t round) const;
  [[nodiscard]] BoardLine& line(int by, int reader, std::uint64_t round) const;

  [[nodiscard]] bool has(int rank, What what, std::uint64_t round) const;
  [[nodiscard]] bool bit(int by, int reader, std::uint64_t round) const;
  void await(What what, std::uint64_t round);
  void sleep_before_gate(std::uint64_t round) const;

  Group& group_;
  std::unique_ptr<SharedMemory> memory_;
  int rank_;
  int size_;
  Gate* gate_ = nullptr;      ///< null: each rank has a processor, so none sleeps
  std::int64_t words_;        ///< of bits, one a rank
  std::int64_t flag_stride_;  ///< bytes from one rank's to the next
  std::int64_t bits_stride_;
  std::int64_t first_bits_;
  std::int64_t first_line_;
  std::int64_t first_free_;
};
}  // namespace switchyard::comm
