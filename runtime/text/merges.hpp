// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The merging of byte-pair encoding: of all neighbours, the pair with the lowest rank becomes one
/// symbol, again and again; of equal ranks the leftmost. O(n log n).
/// Source: Sennrich et al. 2016 (arXiv:1508.07909), with the order of released tokenizers.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace switchyard::runtime {

/// A part of a word.
struct Symbol {
  std::size_t begin = 0;  ///< byte of the word
  std::size_t end = 0;
  std::int64_t id = -1;  ///< in the vocabulary; -1: not there
};

/// What two neighbours become.
struct Merged {
  double rank = 0;  ///< lowest first
  std::int64_t id = -1;
};

/// Merges `symbols`, which cover a word without gaps, until nothing can be merged.
/// @param merge  std::optional<Merged>(const Symbol& left, const Symbol& right)
template <class Merge>
void merge_symbols(std::vector<Symbol>& symbols, const Merge& merge) {
  struct Candidate {
    double rank;
    std::size_t left;
    std::size_t right;
    std::size_t end;  // of the right one, when it was found
    std::size_t middle;
    std::int64_t id;
    bool operator<(const Candidate& other) const {  // the queue's first is its largest
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const std::size_t none = symbols.size();
  std::vector<std::size_t> next(symbols.size());
  std::vector<std::size_t> previous(symbols.size());
  std::priority_queue<Candidate> queue;
  const auto look = [&](std::size_t left, std::size_t right) {
    if (left == none || right == none) return;
    const std::optional<Merged> found = merge(symbols[left], symbols[right]);
    if (!found) return;
    queue.push({.rank = found->rank,
                .left = left,
                .right = right,
                .end = symbols[right].end,
                .middle = symbols[left].end,
                .id = found->id});
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    next[i] = i + 1;
    previous[i] = i == 0 ? none : i - 1;
  }
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) look(i, i + 1);
  std::vector<bool> gone(symbols.size(), false);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    // Either may have become part of something else since.
    if (gone[best.left] || gone[best.right] || symbols[best.left].end != best.middle ||
        symbols[best.right].end != best.end) {
      continue;
    }
    symbols[best.left].end = best.end;
    symbols[best.left].id = best.id;
    gone[best.right] = true;
    next[best.left] = next[best.right];
    if (next[best.left] != none) previous[next[best.left]] = best.left;
    look(previous[best.left], best.left);
    look(best.left, next[best.left]);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (!gone[i]) symbols[kept++] = symbols[i];
  }
  symbols.resize(kept);
}
}  // namespace switchyard::runtime
