// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which row goes to which rank, and which slot each result comes back to: a pure function of a
/// routing and a placement.
#include <cstdint>
#include <span>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "experts/router/routing.hpp"
#include "runtime/placement/placement.hpp"
#include "runtime/report/layer_stats.hpp"

namespace switchyard::runtime {

/// What a rank is told about one result that it owes: part of the note that travels ahead of the
/// rows, little-endian, 12 bytes (runtime/README.md walks one).
struct Entry {
  std::int32_t row;     ///< number of the row among those sent to that rank
  std::int32_t expert;  ///< logical id
  float gate;           ///< weight on the input, 1 where the weight is on the output
};
static_assert(sizeof(Entry) == 12);

/// Each row is named once to each rank, however many of its experts live there; every (token, slot)
/// has a result of its own.
struct DispatchPlan {
  comm::Offer offer;                         ///< base and row_bytes are the caller's to fill in
  std::vector<std::int64_t> result_offsets;  ///< [ranks + 1], into result_slots
  std::vector<std::int64_t> result_slots;    ///< slot of the chunk that result j of rank r answers
  PlanCounts counts;
};

/// Kept from plan to plan, so that making one allocates nothing.
struct PlanScratch {
  std::vector<std::int32_t> host_of;      ///< [slots]
  std::vector<std::int64_t> rows_for;     ///< [ranks]
  std::vector<std::int64_t> last_token;   ///< [ranks]
  std::vector<std::int64_t> next_row;     ///< [ranks]
  std::vector<std::int64_t> next_result;  ///< [ranks]
};

/// The rank of a slot that no expert computes.
inline constexpr std::int32_t kNowhere = -1;

/// The rank that computes each slot of one token. Of several copies of an expert the home rank's
/// own is taken, else one on a rank that gets the row anyway, else any; where several would do they
/// take turns by token.
/// @param experts  [slots]; one that is dropped or beyond the placement's gets kNowhere
/// @param hosts    [slots], overwritten
/// @throws std::invalid_argument  "plan: expert 9 of token 3 has no host, want it masked"
void choose_hosts(std::span<const std::int32_t> experts, const Placement& placement, int home,
                  std::int64_t token, std::span<std::int32_t> hosts);

/// Plans tokens [first, first + count) of `routing`. Slots are numbered within the chunk, from the
/// first slot of its first token. Copies are chosen by choose_hosts.
/// @param rank      the home of these tokens
/// @param identity  this many ids after the placement's have no weights and stay home
/// @param gates     put weights into the entries (GateOn::kInput)
/// @throws std::invalid_argument  "plan: expert 9 of token 3, want 0 to 7"
void make_plan(const experts::Routing& routing, const Placement& placement, int rank,
               std::int64_t first, std::int64_t count, std::int64_t identity, bool gates,
               DispatchPlan& plan, PlanScratch& scratch);
[[nodiscard]] DispatchPlan make_plan(const experts::Routing& routing, const Placement& placement,
                                     int rank, std::int64_t first, std::int64_t count,
                                     std::int64_t identity, bool gates);
}  // namespace switchyard::runtime
