// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A saved step, read by any number of ranks: each reads the blocks that it needs and checks them.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// One committed step, open for reading by one thread. Holds the manifest, some open files and at
/// most kReadBytes of data.
class StoredCheckpoint {
 public:
  static constexpr std::int64_t kReadBytes = std::int64_t{4} << 20;

  /// Reads and checks the manifest, and of every shard its size, header, index and trailer; no
  /// data.
  /// @param rank, ranks  of which each checks its share of the shards; alone: all
  /// @throws DamagedCheckpoint      "step 1200: shard-00003-of-00008.sy: size 4096, want 81920"
  /// @throws std::invalid_argument  it needs a newer reader
  /// @throws std::system_error      it cannot be read; names the file
  StoredCheckpoint(FileSystem& files, const std::string& directory, std::int64_t step, int rank = 0,
                   int ranks = 1);
  StoredCheckpoint(StoredCheckpoint&&) noexcept;
  StoredCheckpoint& operator=(StoredCheckpoint&&) noexcept;
  ~StoredCheckpoint();

  [[nodiscard]] const Manifest& manifest() const;
  [[nodiscard]] const CheckpointInfo& info() const { return manifest().info; }
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const { return manifest().tensors; }
  [[nodiscard]] const TensorInfo* find(const std::string& name) const;  ///< null: it has none
  /// @throws std::invalid_argument  "step 1200: tensor NAME: missing"
  [[nodiscard]] const TensorInfo& at(const std::string& name) const;

  /// Reads a part of a tensor, dense and row-major, every block of it checked before it is used.
  /// @param as  the tensor's own type, or one of float32, bfloat16, float16 for another of these
  ///            (wider: exact; narrower: nearest, ties to even)
  /// @param to  [where.elements() * bytes_of(as)]
  /// @throws DamagedCheckpoint      names tensor, file, block and byte
  /// @throws std::invalid_argument  no such tensor, a part outside of it, a type that it cannot
  /// become Memory: kReadBytes.
  void read(const std::string& name, const Rectangle& where, DataType as, std::span<std::byte> to);
  /// The whole tensor in its own type.
  void read(const std::string& name, std::span<std::byte> to);
  /// Bytes that were read so far, whole blocks; for tests and reports.
  [[nodiscard]] std::int64_t bytes_read() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

/// Committed steps by their names, newest first; whether they are good is not looked at. None if
/// there is no such folder.
/// @throws std::system_error  it cannot be read
[[nodiscard]] std::vector<std::int64_t> saved_steps(FileSystem& files,
                                                    const std::string& directory);

/// Tries the saved steps, newest first, until `load` has read one on every rank: one that is
/// damaged for any rank is skipped by all, with one note: "skip step 1200: shard-00003-of-00008.sy:
/// ...". Collective; `load` must not use the group.
/// @param note  called on rank 0
/// @param load  reads what this rank needs; throws DamagedCheckpoint (as read() does) to try an
/// older
///              one; anything else it throws ends the search
/// @return  what was loaded; nothing if nothing was ever saved there
/// @throws comm::CollectiveError  steps are there and none is good (status 2: never from the start
/// in
///         silence); one needs a newer reader (2); I/O (74); or what `load` threw, with its status
[[nodiscard]] std::optional<StoredCheckpoint> load_newest(
    comm::Group& group, FileSystem& files, const std::string& directory,
    const std::function<void(const std::string&)>& note,
    const std::function<void(StoredCheckpoint&)>& load);
}  // namespace switchyard::runtime
