// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "comm/base/hollow.hpp"
#include "comm/exchange/round.hpp"

namespace switchyard::comm {
namespace {
constexpr std::int64_t kMaxCount = std::numeric_limits<std::int32_t>::max();

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("offer: " + what);
}

void require_offsets(const char* name, const std::vector<std::int64_t>& offsets, int ranks,
                     std::size_t end) {
  const std::string words = name;
  if (offsets.size() != static_cast<std::size_t>(ranks) + 1) {
    refuse(words + " has " + std::to_string(offsets.size()) + " entries, want " +
           std::to_string(ranks + 1));
  }
  if (offsets.front() != 0) {
    refuse(words + " starts at " + std::to_string(offsets.front()) + ", want 0");
  }
  for (int r = 0; r < ranks; ++r) {
    const std::int64_t count = count_of(offsets, r);
    if (count >= 0 && count <= kMaxCount) continue;
    refuse(words + " gives rank " + std::to_string(r) + " " + std::to_string(count) +
           ", want 0 to 2147483647");
  }
  if (std::cmp_not_equal(offsets.back(), end)) {
    refuse(words + " ends at " + std::to_string(offsets.back()) + ", want " + std::to_string(end));
  }
}

/// @param end_of  (rank) -> where its last stage must end
template <class EndOf>
void require_stages(const char* name, const std::vector<std::int64_t>& counts, int ranks,
                    int stages, const EndOf& end_of) {
  const std::string words = name;
  const auto per_rank = static_cast<std::size_t>(stages);
  if (counts.size() != static_cast<std::size_t>(ranks) * per_rank) {
    refuse(words + " has " + std::to_string(counts.size()) + " entries, want " +
           std::to_string(ranks * stages));
  }
  for (int r = 0; r < ranks; ++r) {
    const std::int64_t end = end_of(r);
    std::int64_t last = 0;
    for (std::size_t s = 0; s < per_rank; ++s) {
      const std::int64_t count = counts[static_cast<std::size_t>(r) * per_rank + s];
      const bool ends_well = s + 1 < per_rank || count == end;
      if (count < last || count > end || !ends_well) {
        refuse(words + " gives rank " + std::to_string(r) + " " + std::to_string(count) +
               " until stage " + std::to_string(s) + ", want " + std::to_string(last) + " to " +
               std::to_string(end) + ", and all in the end");
      }
      last = count;
    }
  }
}
}  // namespace

void require_offer(const Offer& offer, int ranks, int stages) {
  if (offer.row_bytes < 4 || offer.row_bytes % 4 != 0 || offer.row_bytes > kMaxCount) {
    refuse("row_bytes is " + std::to_string(offer.row_bytes) +
           ", want a multiple of 4 from 4 to 2147483644");
  }
  require_offsets("row_offsets", offer.row_offsets, ranks, offer.rows.size());
  require_offsets("note_offsets", offer.note_offsets, ranks, offer.notes.size());
  if (offer.results.size() != static_cast<std::size_t>(ranks)) {
    refuse("results has " + std::to_string(offer.results.size()) + " entries, want " +
           std::to_string(ranks));
  }
  for (const std::int64_t count : offer.results) {
    if (count < 0 || count > kMaxCount) {
      refuse("results has " + std::to_string(count) + ", want 0 to 2147483647");
    }
  }
  if (!(offer.stage_rows.empty() && offer.stage_results.empty())) {
    require_stages("stage_rows", offer.stage_rows, ranks, stages,
                   [&](int r) { return count_of(offer.row_offsets, r); });
    require_stages("stage_results", offer.stage_results, ranks, stages,
                   [&](int r) { return offer.results[static_cast<std::size_t>(r)]; });
  }
  if (offer.base == nullptr && !offer.rows.empty()) refuse("base is null, want the rows");
  const std::int64_t furthest = std::numeric_limits<std::int64_t>::max() / offer.row_bytes - 1;
  for (const std::int64_t row : offer.rows) {
    if (row < 0 || row > furthest) {
      refuse("row is " + std::to_string(row) + ", want 0 to " + std::to_string(furthest));
    }
  }
}

void pack_rows(const Offer& offer, int rank, std::byte* to) {
  const auto bytes = static_cast<std::size_t>(offer.row_bytes);
  const auto begin = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(rank)]);
  const auto end = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(rank) + 1]);
  if (is_hollow(offer.base)) return;
  for (std::size_t i = begin; i < end; ++i, to += bytes) {
    std::memcpy(to, offer.base + offer.rows[i] * offer.row_bytes, bytes);
  }
}

std::span<const std::byte> note_for(const Offer& offer, int rank) {
  const auto at = static_cast<std::size_t>(offer.note_offsets[static_cast<std::size_t>(rank)]);
  return std::span(offer.notes)
      .subspan(at, static_cast<std::size_t>(count_of(offer.note_offsets, rank)));
}

void copy_note(const Offer& offer, int rank, Buffer& to) {
  const std::span<const std::byte> note = note_for(offer, rank);
  to.resize(note.size());
  if (!note.empty()) std::memcpy(to.data(), note.data(), note.size());
}
}  // namespace switchyard::comm
