// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where a run saves itself: a folder that one job at a time may write, with one folder a saved
/// step in it, each whole or absent. README.md has the protocol.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "comm/group/group.hpp"
#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// A part of a tensor that this rank has in memory and is to save. Of replicas one rank says it.
struct SavedPiece {
  TensorInfo tensor;
  Rectangle where;                   ///< at least one element; Rectangle::whole(tensor) for all
  std::span<const std::byte> bytes;  ///< dense, row-major, little-endian
};

struct StoreOptions {
  std::string run_id = {};        ///< for whoever finds the folder locked
  std::uint64_t incarnation = 0;  ///< of this start; at least one more than the last is taken
  int keep = 2;                   ///< newest good steps that stay, at least 2
  bool fresh = false;             ///< once a step is saved, those of other runs go
  bool overwrite = false;         ///< a good step of another run may be replaced
  bool read_back = false;         ///< read what was written, before it is committed
  int most_failures = 3;          ///< saves in a row that may fail before the run ends
  std::function<void(const std::string&)> note = {};  ///< warnings, one line each; called on rank 0
};

/// How a save ended. The same on all ranks, but for seconds.
struct SaveResult {
  bool saved = false;
  std::int64_t step = 0;
  std::string
      problem;  ///< if not: "rank 2: checkpoint: cannot write FILE: No space left on device"
  std::int64_t bytes = 0;  ///< of all shards
  double pause_s = 0;      ///< that begin() took: snapshot, room, agreement
  double seconds = 0;      ///< from begin() to the verdict
};

/// A folder of checkpoints, open for writing by the ranks of a group. The group must outlive it, as
/// must the file system. All calls are made by the thread that owns the group; tensor bytes are
/// written by a thread that never touches the group. Phases are marked on the group's deadline.
class CheckpointStore {
 public:
  /// Makes the folder if it is missing, locks it (rank 0), and removes what a killed job left
  /// half-done. Collective.
  /// @throws comm::CollectiveError  status 2: "checkpoint: DIR is held by run X, pid N", a file in
  ///         its place, keep below 2; status 74: it cannot be made or locked
  CheckpointStore(comm::Group& group, FileSystem& files, std::string directory,
                  StoreOptions options);
  /// Waits for the thread: what is not committed is given up, what is old goes.
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  /// Makes and touches the memory of snapshots, so that the first one takes no longer than the
  /// next.
  /// @param bytes  that this rank's pieces have together
  void reserve(std::int64_t bytes);
  /// Starts to save: tidies, looks for room, copies the pieces, and returns while a thread writes.
  /// Collective. A save that cannot start has failed like any other: poll() or finish() tells.
  /// @pre !saving()
  /// @throws std::invalid_argument  a piece that does not fit its tensor, a step below 0
  void begin(const CheckpointInfo& info, std::span<const SavedPiece> pieces);
  [[nodiscard]] bool saving() const;
  /// Goes on as far as it can without waiting. Every rank must call it now and then, at its own
  /// pace.
  /// @return  how the save ended, once, as soon as it counts (or does not): older steps go after
  ///          that, in the thread. Nothing while it lasts, or if there is none.
  /// @throws comm::CollectiveError  status 74: most_failures saves in a row have failed; another
  /// one:
  ///         what was to be saved cannot be (the same element twice), so trying again cannot help
  std::optional<SaveResult> poll();
  /// Waits for the end, within the group's deadline from the last byte written. Collective.
  /// @throws as poll(); comm::DeadlineError
  std::optional<SaveResult> finish();
  /// begin() and finish() without a copy of the tensors. Collective.
  SaveResult save(const CheckpointInfo& info, std::span<const SavedPiece> pieces);
  /// Waits until older steps have gone. For whoever looks at the folder; on this rank alone.
  void tidy();

  /// A step that retention must leave: the one that was loaded. All ranks alike.
  void pin(std::int64_t step);
  [[nodiscard]] std::uint64_t incarnation() const;
  [[nodiscard]] const std::string& directory() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};
}  // namespace switchyard::runtime
