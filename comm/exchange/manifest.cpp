// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange/manifest.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "comm/base/error.hpp"
#include "comm/exchange/round.hpp"

namespace switchyard::comm {
namespace {
constexpr std::size_t kWord = sizeof(std::int32_t);
constexpr int kShareWords = 3;  ///< rows, results, note_bytes; then a word a stage

std::size_t index(int rank, int stages, int stage) {
  return static_cast<std::size_t>(rank) * static_cast<std::size_t>(stages) +
         static_cast<std::size_t>(stage);
}

void put(std::vector<std::byte>& to, std::int64_t value) {
  const auto word = static_cast<std::int32_t>(value);  // counts fit: require_offer
  const auto* const bytes = reinterpret_cast<const std::byte*>(&word);
  to.insert(to.end(), bytes, bytes + kWord);
}

std::size_t padded(std::size_t bytes) {
  return (bytes + kWord - 1) / kWord * kWord;
}

/// Takes words from the front of a manifest.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, int from) : bytes_(bytes), from_(from) {}

  const std::int32_t* take(std::int64_t words, const char* what) {
    if (words < 0 || std::cmp_greater(words, bytes_.size() / kWord)) {
      refuse(std::string(what) + " of " + std::to_string(words) + " words, want at most " +
             std::to_string(bytes_.size() / kWord));
    }
    const auto* const at = reinterpret_cast<const std::int32_t*>(bytes_.data());
    bytes_ = bytes_.subspan(static_cast<std::size_t>(words) * kWord);
    return at;
  }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }
  [[noreturn]] void refuse(const std::string& what) const {
    throw ProtocolError("manifest from rank " + std::to_string(from_) + ": " + what);
  }
  /// Counts that never fall and end where they must.
  void require_stages(const std::int32_t* counts, int stages, std::int64_t end) const {
    std::int64_t last = 0;
    for (int s = 0; s < stages; ++s) {
      if (counts[s] < last || counts[s] > end || (s == stages - 1 && counts[s] != end)) {
        refuse("stage " + std::to_string(s) + " ends at " + std::to_string(counts[s]) + " of " +
               std::to_string(end) + " after " + std::to_string(last));
      }
      last = counts[s];
    }
  }

 private:
  std::span<const std::byte> bytes_;
  int from_;
};
}  // namespace

std::int64_t rows_until(const Offer& offer, int stages, int rank, int stage) {
  return offer.stage_rows.empty() ? count_of(offer.row_offsets, rank)
                                  : offer.stage_rows[index(rank, stages, stage)];
}

std::int64_t results_until(const Offer& offer, int stages, int rank, int stage) {
  if (!offer.stage_results.empty()) return offer.stage_results[index(rank, stages, stage)];
  return stage == stages - 1 ? offer.results[static_cast<std::size_t>(rank)] : 0;
}

void NodeLoad::pack(const Offer& offer, int stages, std::span<const int> ranks,
                    std::vector<std::int32_t>& numbers) {
  rows.clear();
  stage_rows.clear();
  manifest.clear();
  results = 0;
  std::int64_t furthest = -1;
  for (const std::int64_t row : offer.rows) furthest = std::max(furthest, row);
  numbers.assign(static_cast<std::size_t>(furthest + 1), -1);
  for (int s = 0; s < stages; ++s) {
    for (const int r : ranks) {
      const std::int64_t first = offer.row_offsets[static_cast<std::size_t>(r)];
      const std::int64_t begin = s == 0 ? 0 : rows_until(offer, stages, r, s - 1);
      for (std::int64_t i = begin; i < rows_until(offer, stages, r, s); ++i) {
        const std::int64_t row = offer.rows[static_cast<std::size_t>(first + i)];
        std::int32_t& number = numbers[static_cast<std::size_t>(row)];
        if (number >= 0) continue;
        number = static_cast<std::int32_t>(rows.size());
        rows.push_back(row);
      }
    }
    stage_rows.push_back(static_cast<std::int64_t>(rows.size()));
    put(manifest, stage_rows.back());
  }
  for (const int r : ranks) {
    results += offer.results[static_cast<std::size_t>(r)];
    put(manifest, count_of(offer.row_offsets, r));
    put(manifest, offer.results[static_cast<std::size_t>(r)]);
    put(manifest, count_of(offer.note_offsets, r));
    for (int s = 0; s < stages; ++s) put(manifest, results_until(offer, stages, r, s));
  }
  for (const int r : ranks) {
    const auto begin = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(r)]);
    const auto end = static_cast<std::size_t>(offer.row_offsets[static_cast<std::size_t>(r) + 1]);
    for (std::size_t i = begin; i < end; ++i) {
      put(manifest, numbers[static_cast<std::size_t>(offer.rows[i])]);
    }
    const auto note = note_for(offer, r);
    manifest.insert(manifest.end(), note.begin(), note.end());
    manifest.resize(padded(manifest.size()));
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (std::cmp_greater(manifest.size(), kMost) || results > kMost) {
    throw std::invalid_argument(
        "offer: " + std::to_string(results) + " results of one node, noted in " +
        std::to_string(manifest.size()) + " bytes, want at most 2147483647");
  }
}

void read_manifest(std::span<const std::byte> bytes, int from, int stages,
                   std::span<const int> ranks, std::int64_t rows, std::int64_t results,
                   Manifest& manifest) {
  Reader reader(bytes, from);
  manifest.stage_rows = reader.take(stages, "stages");
  reader.require_stages(manifest.stage_rows, stages, rows);
  manifest.shares.clear();
  std::int64_t all_results = 0;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const std::int32_t* const words = reader.take(kShareWords + stages, "a rank's counts");
    const ManifestShare share{.rows = words[0],
                              .results = words[1],
                              .note_bytes = words[2],
                              .stage_results = words + kShareWords};
    if (share.results < 0) reader.refuse("results are " + std::to_string(share.results));
    reader.require_stages(share.stage_results, stages, share.results);
    if (share.note_bytes < 0) reader.refuse("note_bytes are " + std::to_string(share.note_bytes));
    all_results += share.results;
    manifest.shares.push_back(share);
  }
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    ManifestShare& share = manifest.shares[i];
    share.list = reader.take(share.rows, "a list of rows");
    for (std::int32_t j = 0; j < share.rows; ++j) {
      if (share.list[j] >= 0 && share.list[j] < rows) continue;
      reader.refuse("row " + std::to_string(share.list[j]) + " of rank " +
                    std::to_string(ranks[i]) + ", want 0 to " + std::to_string(rows - 1));
    }
    const auto words =
        static_cast<std::int64_t>(padded(static_cast<std::size_t>(share.note_bytes)) / kWord);
    share.note = reinterpret_cast<const std::byte*>(reader.take(words, "a note"));
  }
  if (reader.left() != 0) reader.refuse(std::to_string(reader.left()) + " bytes are left, want 0");
  if (all_results != results) {
    reader.refuse("results are " + std::to_string(all_results) + ", want " +
                  std::to_string(results) + " as its header said");
  }
}
}  // namespace switchyard::comm
