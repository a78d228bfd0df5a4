// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a run is asked to do about where its experts live while it goes on, and what came of it.
#include <cstdint>
#include <string>
#include <vector>

namespace switchyard::runtime {

struct RebalanceSettings {
  std::string policy;        ///< of placement/policies; empty: experts stay
  std::int64_t window = 16;  ///< steps whose load counts
  std::int64_t every = 16;   ///< steps from one look at it to the next
  std::int64_t slots = 0;    ///< copies that a rank holds, a layer; 0: as the fullest at first
  std::int64_t pays_within = 200;  ///< steps in which a plan must earn its migration back
  bool beside = true;              ///< copies cross while steps go on
  double bandwidth = 1e9;          ///< bytes a second of a rank, until a migration was measured
  [[nodiscard]] bool on() const { return !policy.empty(); }
};

/// One plan that would move experts.
struct RebalanceEvent {
  std::int64_t step = 0;  ///< before which it was made
  bool moved = false;
  std::string words;             ///< the verdict, for the user
  std::int64_t copies = 0;       ///< to move
  double balancedness_then = 1;  ///< of the window, copies sharing rows evenly
  double balancedness_plan = 1;  ///< the same of the plan
  std::int64_t switched = -1;    ///< step from which its last layer went by it; -1: never
};

/// Of the whole run, warm steps too. Equal on every rank, but for plan_s and events: rank 0 has
/// them.
struct RebalanceReport {
  std::string policy;
  std::int64_t slots = 0;
  std::int64_t looks = 0;          ///< at the load
  std::int64_t moved = 0;          ///< plans that experts moved by
  std::int64_t refused = 0;        ///< that would not have paid
  std::int64_t kept = 0;           ///< plans that were the placement there was
  std::uint64_t epoch = 0;         ///< of the placement at the end
  std::int64_t copies = 0;         ///< that crossed ranks
  double bytes = 0;                ///< of these
  double stall_s = 0;              ///< that steps stood still for all of it, slowest rank
  double longest_stall_s = 0;      ///< between two steps
  double longest_switch_s = 0;     ///< to another epoch, of these
  double plan_s = 0;               ///< of these, rank 0's policy
  double balancedness_before = 1;  ///< rows computed in the last window before the first switch
  double balancedness_after = 1;   ///< in the last steps since the last
  double busiest_rows_before = 0;  ///< of each layer's busiest rank, a step
  double busiest_rows_after = 0;
  std::vector<RebalanceEvent> events;
};
}  // namespace switchyard::runtime
