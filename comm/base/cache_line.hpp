// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What cache lines cost that another processor holds: how long one takes to come, and a copy to
/// such lines that does not ask for them first.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard::comm {

/// Copies past the caches. What is written is seen by others before whatever is stored next.
void copy_past_caches(std::byte* to, const std::byte* from, std::int64_t bytes);

/// Tells mates whose lines come quickly (out of a cache that both processors share, or the own
/// one) from those whose lines come from far (another chiplet or socket), by how long a line takes
/// that the mate has just written. Nobody is far where the processor has no counter to look at.
class Distances {
 public:
  explicit Distances(int mates);
  /// As if every line took long, for tests.
  static Distances all_far(int mates);

  /// Loads a word that the mate has written this round, and remembers how long that took.
  void look(int mate, const std::int64_t& word);
  /// One of the last looks took long.
  [[nodiscard]] bool far(int mate) const { return votes_[static_cast<std::size_t>(mate)] > 0; }
  [[nodiscard]] bool any_far() const;

 private:
  Distances(int mates, std::uint64_t long_ticks, int votes)
      : long_ticks_(long_ticks), votes_(static_cast<std::size_t>(mates), votes) {}

  std::uint64_t long_ticks_;
  std::vector<int> votes_;  ///< by mate, looks until a long one is forgotten
};
}  // namespace switchyard::comm
