// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The parts of a step that are read before any data: manifest, and the frames of its shards.
#include <cstdint>
#include <string>

#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// The manifest of a step, and nothing of its shards. @throws as read_step()
[[nodiscard]] Manifest read_manifest(FileSystem& files, const std::string& directory,
                                     std::int64_t step);
/// Of one shard: that it is a file of the right size, and of this step; header, index, trailer.
/// @throws DamagedCheckpoint, std::system_error
void check_shard_file(FileSystem& files, const std::string& directory, const Manifest& manifest,
                      std::size_t shard);
/// Both, of shards rank, rank + ranks, ...
/// @throws DamagedCheckpoint      "step 1200: shard-00003-of-00008.sy: size 4096, want 81920"
/// @throws std::invalid_argument  it needs a newer reader
/// @throws std::system_error      it cannot be read
[[nodiscard]] Manifest read_step(FileSystem& files, const std::string& directory, std::int64_t step,
                                 int rank = 0, int ranks = 1);
}  // namespace switchyard::runtime
