// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Says what of a folder of checkpoints is still good, down to the tensor.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/checkpoint/file_system.hpp"

namespace switchyard::runtime {

/// Something wrong with a step.
struct Finding {
  std::string file;         ///< "MANIFEST", "shard-00003-of-00008.sy"; empty: the folder
  std::string part;         ///< "file", "header", "data", "index", "trailer", "manifest"
  std::int64_t offset = 0;  ///< in the file, of the first byte that may be wrong
  std::int64_t block = -1;  ///< of the tensor's piece; -1: no data
  std::string tensor = {};  ///< empty: of none
  std::string words = {};   ///< a whole message
};

struct StepVerdict {
  std::int64_t step = 0;
  std::vector<Finding> findings;  ///< none: good
  std::int64_t tensors = 0;       ///< 0 if the manifest cannot be read
  std::int64_t good_tensors = 0;  ///< without a bad block
  std::int64_t bytes = 0;         ///< of all files that were read
  [[nodiscard]] bool good() const { return findings.empty(); }
};

/// Reads every byte of a step. Memory: StoredCheckpoint::kReadBytes.
/// @param progress  may be empty; called with bytes read so far, and of how many
[[nodiscard]] StepVerdict verify_checkpoint(
    FileSystem& files, const std::string& directory, std::int64_t step,
    const std::function<void(std::int64_t done, std::int64_t all)>& progress = {});
}  // namespace switchyard::runtime
