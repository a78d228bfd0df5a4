// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What is done to saved steps without a run: spread over other files, compared, made from released
/// weights and turned back into them. One process, no messages; data pass through a few MiB.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/placement/placement.hpp"

namespace switchyard::runtime {

/// Called now and then with bytes done and bytes in all.
using ByteProgress = std::function<void(std::int64_t done, std::int64_t all)>;

/// A step of a folder.
struct StepPath {
  std::string directory;
  std::int64_t step = -1;  ///< -1: the newest
};
/// @throws std::system_error      there is no such folder
/// @throws std::invalid_argument  "checkpoint: DIR: no saved step"; the step is not there
[[nodiscard]] std::int64_t resolve(FileSystem& files, const StepPath& path);

/// How the pieces of a step are to lie in files: those of an expert in the file of its lowest host,
/// others where the least is.
struct Spread {
  int files = 1;
  std::vector<std::vector<std::int32_t>> experts_of = {};  ///< [files]; empty: blocks of equal size
  bool overwrite = false;
};

/// Writes a step again, in other files, to another folder. Every block is checked on its way;
/// pieces and their checksums stay what they are, so that content_sha256 does too.
/// @return  the new manifest
/// @throws DamagedCheckpoint, std::invalid_argument, std::system_error
/// Memory: the manifest, and some 10 MiB.
Manifest reshard(FileSystem& files, const StepPath& from, const std::string& to,
                 const Spread& spread, const ByteProgress& progress);

/// A difference between two steps.
struct Difference {
  std::string tensor;
  std::string words;  ///< "only in the first", "element 17 of 4096 is the first of 3 that differ"
};
/// Compares every tensor, bit by bit. @throws as reshard()
[[nodiscard]] std::vector<Difference> compare(FileSystem& files, const StepPath& one,
                                              const StepPath& other, const ByteProgress& progress);

/// Makes step 0 of a released folder (config.json, safetensors): names, types and bytes as they
/// are, and what else it takes to make the same files again. Of a folder that a run was exported to
/// it makes the run's step again, from which the run goes on.
Manifest import_released(FileSystem& files, const std::filesystem::path& released,
                         const std::string& to, const Spread& spread, const ByteProgress& progress);

/// What export wrote.
struct Exported {
  std::vector<std::string> names;
  std::int64_t bytes = 0;
};
struct ExportForm {
  std::int64_t file_bytes = std::int64_t{4} << 30;  ///< most of a file that never was released
  std::filesystem::path like = {};  ///< of a run's step: released weights to put its state into
};
/// Writes a step as safetensors into a folder that must not exist yet. One that was imported
/// becomes the files it was, bit for bit. The step of a run becomes, with `like`, the files in
/// there with its tensors in float32 in their places, else files of its own tensors; beside them is
/// what the run needs to go on.
/// @throws std::invalid_argument  `like` is another model, or has no place for a tensor
[[nodiscard]] Exported export_released(FileSystem& files, const StepPath& from,
                                       const std::filesystem::path& to, const ExportForm& form,
                                       const ByteProgress& progress);
}  // namespace switchyard::runtime
