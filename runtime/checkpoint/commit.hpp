// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What rank 0 alone does to a folder of checkpoints: names come and go, in an order that a crash
/// anywhere cannot break. No messages, so that any thread may do it.
#include <cstdint>
#include <set>
#include <string>

#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// ".stage-000000001200-3": beside the steps, and never read.
[[nodiscard]] std::string stage_name(std::int64_t step, std::uint64_t incarnation);

/// The folder of a store: made if missing, and locked.
class LockedFolder {
 public:
  /// @param incarnation  at least this one; one more than the last one's is taken
  /// @throws std::invalid_argument  "checkpoint: DIR is held by run X, pid N"; a file in its place
  /// @throws std::system_error
  LockedFolder(FileSystem& files, std::string directory, const std::string& run_id,
               std::uint64_t incarnation);

  [[nodiscard]] std::uint64_t incarnation() const { return incarnation_; }
  /// @throws std::system_error  ESTALE: somebody else has taken the folder since
  void require_held();

 private:
  std::string directory_;
  std::uint64_t incarnation_ = 0;
  std::string words_;  ///< what LOCK says
  OpenFile lock_;
  FileSystem& files_;
};

/// Removes what was never committed, or is no longer. What cannot be removed stays for next time.
void sweep(FileSystem& files, const std::string& directory);

/// Writes the manifest into a stage that has all its shards; names and bytes are on the device
/// then.
/// @throws std::system_error
void write_manifest(FileSystem& files, const std::string& directory, const std::string& stage,
                    const Manifest& manifest);

/// Makes a stage with its manifest the step. Once this returns it is there after any crash.
/// @throws std::invalid_argument  the step exists, is good, and has other content (not if
/// overwrite)
/// @throws std::system_error
void commit_stage(FileSystem& files, const std::string& directory, const std::string& stage,
                  const Manifest& manifest, bool overwrite, LockedFolder& lock);

/// Which steps a store knows to be good, and which it must leave.
struct Retention {
  int keep = 2;
  std::string run_id;  ///< with only_own: steps of others go
  bool only_own = false;
  std::set<std::int64_t> known;  ///< good; grows
  std::set<std::int64_t> pinned;
};
/// Takes away what is older than the `keep` newest good steps, but for pinned ones: first out of
/// sight, then off the device.
/// @throws std::system_error
void retain(FileSystem& files, const std::string& directory, Retention& retention);
}  // namespace switchyard::runtime
