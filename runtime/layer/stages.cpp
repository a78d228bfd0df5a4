// SPDX-License-Identifier: Apache-2.0
#include "runtime/layer/stages.hpp"

#include <algorithm>
#include <cstring>
#include <span>

#include "experts/index.hpp"

namespace switchyard::runtime {
namespace {
int stage_of_entry(const Entry& entry, std::span<const std::int32_t> experts, int stages) {
  const auto found = std::lower_bound(experts.begin(), experts.end(), entry.expert);
  return stage_of(found - experts.begin(), static_cast<std::int64_t>(experts.size()), stages);
}
}  // namespace

void StageCutter::cut(DispatchPlan& plan, const Placement& placement, int stages) {
  comm::Offer& offer = plan.offer;
  const int ranks = placement.ranks();
  offer.stage_rows.assign(at(ranks) * at(stages), 0);
  offer.stage_results.assign(at(ranks) * at(stages), 0);
  for (int r = 0; r < ranks; ++r) {
    const std::int64_t first_row = offer.row_offsets[at(r)];
    const std::int64_t first_result = plan.result_offsets[at(r)];
    const auto results = at(offer.results[at(r)]);
    std::byte* const note = offer.notes.data() + offer.note_offsets[at(r)];
    entries_.resize(results);
    if (results > 0) std::memcpy(entries_.data(), note, results * sizeof(Entry));
    sorted_.clear();
    slots_.clear();
    rows_.clear();
    number_.assign(at(offer.row_offsets[at(r + 1)] - first_row), -1);
    for (int stage = 0; stage < stages; ++stage) {
      for (std::size_t j = 0; j < results; ++j) {
        Entry entry = entries_[j];
        if (stage_of_entry(entry, placement.experts_of(r), stages) != stage) continue;
        std::int32_t& number = number_[at(entry.row)];
        if (number < 0) {
          number = static_cast<std::int32_t>(rows_.size());
          rows_.push_back(offer.rows[at(first_row + entry.row)]);
        }
        entry.row = number;
        sorted_.push_back(entry);
        slots_.push_back(plan.result_slots[at(first_result) + j]);
      }
      const std::size_t i = at(r) * at(stages) + at(stage);
      offer.stage_rows[i] = static_cast<std::int64_t>(rows_.size());
      offer.stage_results[i] = static_cast<std::int64_t>(sorted_.size());
    }
    if (results > 0) std::memcpy(note, sorted_.data(), results * sizeof(Entry));
    std::ranges::copy(slots_, plan.result_slots.begin() + first_result);
    std::ranges::copy(rows_, offer.rows.begin() + first_row);
  }
}
}  // namespace switchyard::runtime
