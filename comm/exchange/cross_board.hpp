// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Shared memory of one node as an exchange between nodes uses it: what every rank tells its mates
/// about its own rows and about those that it took in for them from other nodes.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// What one source has for one reader of the node. Addresses are good in all ranks of the node; row
/// i lies at first_row + list[i] * row_bytes.
struct CrossLine {
  std::int64_t rows = 0;
  const std::int32_t* list = nullptr;
  const std::byte* first_row = nullptr;
  std::int64_t row_bytes = 0;
  const std::byte* note = nullptr;
  std::int64_t note_bytes = 0;
  std::int64_t results = 0;                     ///< that the reader returns
  const std::int32_t* stage_results = nullptr;  ///< [stages]; null for a source of this node
  std::byte* slots = nullptr;                   ///< where they are written; null for another node
  std::int32_t more = 0;
  std::uint32_t edition = 0;  ///< of the source: Exchange::edition
};

/// Flags that only rise; each belongs to the rank whose segment it is in.
enum class Mark : int {
  kPublished,  ///< lines for its own rows are good: the round
  kForwarded,  ///< lines for all rows that it takes in: the round
  kStaged,     ///< how many stages of these rows are here, counted over all rounds
  kFinished,   ///< it has read everything and written all its results: the round
};

/// A round overwrites the lines of the one before, for nobody begins one before all mates have
/// finished the last.
class CrossBoard {
 public:
  /// Collective over the group.
  explicit CrossBoard(Group& group);

  [[nodiscard]] const NodeMap& nodes() const { return group_.nodes(); }
  [[nodiscard]] const std::vector<int>& mates() const { return *mates_; }
  /// Written by `teller`, this rank or a mate, about the rows of `source` for this rank or a mate.
  [[nodiscard]] CrossLine& line(int teller, int source, int reader) const;

  void set(Mark mark, std::uint64_t value);
  [[nodiscard]] bool has(int mate, Mark mark, std::uint64_t value) const;
  [[nodiscard]] bool all_have(Mark mark, std::uint64_t value) const;
  /// "rank 3": the mates that do not have it yet.
  [[nodiscard]] std::string without(Mark mark, std::uint64_t value) const;

  /// Memory of this rank for the round that it is in; stays where it is until rewind().
  [[nodiscard]] std::byte* take(std::int64_t bytes);
  void rewind() { taken_ = 0; }
  /// Leaves the memory mapped for good: MPI may still write to it.
  void abandon() { static_cast<void>(memory_.release()); }

 private:
  using Flag = std::atomic<std::uint64_t>;
  static_assert(Flag::is_always_lock_free, "flags are shared between processes");
  [[nodiscard]] Flag& flag(int mate, Mark mark) const;
  [[nodiscard]] std::byte* segment(int mate) const;

  Group& group_;
  const std::vector<int>* mates_;
  std::unique_ptr<SharedMemory> memory_;
  std::int64_t first_free_ = 0;
  std::int64_t taken_ = 0;
};
}  // namespace switchyard::comm
