// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The parts of a step that are read before any data: manifest, and the frames of its shards.
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// The manifest of a step, and nothing of its shards. @throws as read_step()
[[nodiscard]] Manifest read_manifest(FileSystem& files, const std::string& directory,
                                     std::int64_t step);
/// Something wrong with a shard, data apart.
struct ShardFlaw {
  const char* part = "file";  ///< "file", "header", "index", "trailer"
  std::int64_t offset = 0;    ///< where that part begins
  std::string words = {};     ///< "step 1200: shard-00003-of-00008.sy: size 4096, want 81920"
};
/// That it is a file of the right size and of this step: header, index and trailer; none: it is.
/// @throws std::system_error  it cannot be read, and that is no damage: no permission, no handles
[[nodiscard]] std::vector<ShardFlaw> flaws_of_shard(FileSystem& files, const std::string& directory,
                                                    const Manifest& manifest, std::size_t shard);
/// Both, of shards rank, rank + ranks, ...
/// @throws DamagedCheckpoint      "step 1200: shard-00003-of-00008.sy: size 4096, want 81920"
/// @throws std::invalid_argument  it needs a newer reader
/// @throws std::system_error      it cannot be read
[[nodiscard]] Manifest read_step(FileSystem& files, const std::string& directory, std::int64_t step,
                                 int rank = 0, int ranks = 1);
}  // namespace switchyard::runtime
