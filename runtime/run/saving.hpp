// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How a stateful run saves itself, and goes on from what was saved.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/checkpoint/store.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/faults/faulty_files.hpp"
#include "runtime/layer/coordinator.hpp"
#include "runtime/run/job.hpp"
#include "runtime/run/run.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/state/run_state.hpp"

namespace switchyard::runtime {

/// What a checkpoint of this run says of itself, but for what changes from step to step. Two runs
/// that come to the same end have the same.
/// @param state  as it begins, for the router's first weights
[[nodiscard]] CheckpointInfo describe_run_to_save(const RunSettings& settings, const RunJob& job,
                                                  const RunState& state);

/// @throws std::invalid_argument  "step 1200 was saved with seed 1, got 2: want ..."
void require_same_run(const CheckpointInfo& saved, const CheckpointInfo& now,
                      const std::string& where);

/// The tensors of a state that this rank saves.
[[nodiscard]] std::vector<SavedPiece> pieces_of(const RunState& state);
/// Reads all tensors of this rank. @throws as StoredCheckpoint::read; std::invalid_argument
void read_state(StoredCheckpoint& from, const RunState& state);

class Saving {
 public:
  /// Locks the folder. Collective. Everything given must outlive it, `warn` aside.
  Saving(comm::Group& group, const RunSettings& settings, const RunJob& job, RunState& state,
         std::function<void(std::string)> warn, FailsCall fails = {});

  /// Reads the newest good step into the state. Collective.
  /// @return  steps done; 0 and an untouched state if nothing is saved there, or none is wanted
  /// @throws comm::CollectiveError  saved by another run, only damaged ones, or a step beyond the
  /// last
  [[nodiscard]] std::int64_t resume();
  /// Of the last step, if the step that was resumed is the last and had been saved as such.
  [[nodiscard]] const std::string& output_digest() const { return output_digest_; }

  /// Of the placement that is saved.
  [[nodiscard]] std::uint64_t placement_epoch() const { return info_.placement_epoch; }
  /// The experts of the state live elsewhere from now on. @param placements  [layers]
  void moved(std::uint64_t epoch, const std::vector<Placement>& placements);

  /// Has the memory of the copies ready, so that no step waits for it.
  void make_room();
  /// Goes on with what is under way, without waiting. @return  whether it still is, on this rank
  bool go_on();
  /// Between two steps, on every rank: begins to save if it is time to.
  /// @param done  steps
  /// @param busy  an earlier save is still under way on some rank: this one is left out
  void between(std::int64_t done, const Coordinator& layers, bool busy);
  /// Before the run leaves: saves this step, unless it is saved, and waits for the end of it.
  /// @param output_digest  of the last step; empty: more are to come
  void leave(std::int64_t done, const Coordinator& layers, const std::string& output_digest);

  /// Of all ranks. Collective.
  [[nodiscard]] SaveReport report();

 private:
  std::optional<SaveResult> begin(std::int64_t done, const Coordinator& layers, bool wait);
  void count(const std::optional<SaveResult>& result);
  void take_placement(const CheckpointInfo& saved);
  [[nodiscard]] std::map<std::int64_t, std::vector<std::uint64_t>> load_of(
      const Coordinator& layers);

  comm::Group& group_;
  const RunSettings& settings_;
  RunState& state_;
  CheckpointInfo info_;
  std::function<void(std::string)> warn_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<CheckpointStore> store_;
  std::map<std::int64_t, std::vector<std::uint64_t>> load_before_;  ///< of steps before this start
  std::string output_digest_;
  std::int64_t saved_step_ = -1;  ///< newest that is there
  std::int64_t under_way_ = -1;
  SaveReport report_;
  double stall_s_ = 0;  ///< of the save under way, on this rank
};
}  // namespace switchyard::runtime
