// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What was served, what was done again, and what was served without some experts: nothing of it in
/// silence.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/layer/moe_layer.hpp"

namespace switchyard::runtime {

/// Slots of one layer whose expert nobody had: they contributed nothing, and no weight was changed.
struct DegradedLayer {
  std::int64_t layer = 0;  ///< number in the model
  std::int64_t slots = 0;
  std::int64_t tokens = 0;                            ///< with at least one such slot
  std::map<std::int64_t, std::int64_t> experts = {};  ///< slots by expert
};

/// Ranks that were lost or have joined, and how long the step took that this interrupted.
struct ServeEvent {
  std::int64_t step = 0;  ///< with which all go on
  std::vector<int> lost;
  std::vector<int> joined;
  double step_ms = 0;
};

/// A spare that has taken the place of a rank.
struct ServeJoin {
  int rank = 0;
  int place = 0;       ///< of the rank that was lost
  double after_s = 0;  ///< from when that was seen until it took part
  double load_s = 0;   ///< of this: loading
};

struct ServeReport {
  int ranks = 0;  ///< that the job was started with, spares aside
  int spares = 0;
  std::vector<int> members;     ///< in the end, by the numbers they were started with
  std::int64_t first_step = 0;  ///< the account of the rank that reports begins here
  std::int64_t steps = 0;       ///< served, warmup included
  std::int64_t attempts = 0;    ///< of these steps, that a change of the membership made void
  std::int64_t degraded_steps = 0;
  std::int64_t slots = 0;  ///< of all steps and layers
  std::int64_t degraded_slots = 0;
  std::vector<DegradedLayer> layers;  ///< those with such slots
  std::vector<ServeEvent> events;
  std::vector<ServeJoin> joins;       ///< those that are left in the end
  std::int64_t reloaded = 0;          ///< experts that were loaded again, all members together
  int fenced = 0;                     ///< ranks that were killed because they gave no sign of life
  std::int64_t dropped_messages = 0;  ///< of older epochs, all members together
  double step_ms_median = 0;
  double step_ms_p99 = 0;
  double step_ms_longest = 0;
  std::vector<std::uint64_t> fingerprints;  ///< [steps], of all output rows of each
};

/// Of all output rows of a step, summed over ranks: the same bits only for the same rows.
/// @param first  number of the first row in the whole batch
[[nodiscard]] std::uint64_t fingerprint(experts::MatrixView<const float> rows, std::int64_t first);

/// One rank's part of a step that is over here.
struct StepPart {
  std::uint64_t fingerprint = 0;
  std::int64_t slots = 0;
  int loading = 0;  ///< Keeper::loading
  std::vector<DegradedLayer> layers;
};

/// What the layers have counted since the last mark.
class StepMark {
 public:
  explicit StepMark(std::vector<MoeLayer*> layers) : layers_(std::move(layers)) {}
  void set();
  [[nodiscard]] StepPart since() const;

 private:
  struct Counts {
    std::int64_t slots = 0;
    std::int64_t tokens = 0;
    std::vector<std::int64_t> masked;
  };
  std::vector<MoeLayer*> layers_;
  std::vector<Counts> counts_;
};

/// Adds steps up, each once, however often it was done.
class ServeAccount {
 public:
  /// Everybody's parts of a step, summed; the step is over on all ranks once it is over on one.
  /// Collective. @return  everybody's `loading`
  std::vector<int> close(comm::Group& group, std::int64_t step, const StepPart& mine, double ms);
  void interrupted(ServeEvent event) { events_.push_back(std::move(event)); }
  /// After interruptions all go on with this step.
  void go_on(std::int64_t step);
  void again() { ++attempts_; }
  /// Without what only the caller knows: ranks, members, fenced, reloaded, dropped messages.
  [[nodiscard]] ServeReport report() const;

 private:
  struct Step {
    std::uint64_t fingerprint = 0;
    std::int64_t slots = 0;
    double ms = 0;
    std::vector<DegradedLayer> layers = {};
  };
  void add(const Step& step, ServeReport& to, std::map<std::int64_t, DegradedLayer>& layers) const;

  std::int64_t first_ = -1;
  std::vector<Step> steps_;
  std::vector<ServeEvent> events_;
  std::size_t settled_ = 0;  ///< of them
  std::int64_t attempts_ = 0;
};

/// "1234 of 98304 slots (1.255 %) in 3 of 40 steps: layer 0: experts 4, 5, 6 and 7"; empty: none.
[[nodiscard]] std::string describe_degraded(const ServeReport& report);
}  // namespace switchyard::runtime
