// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The files of a released folder, for tools of this folder only.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/checkpoint/tools/tools.hpp"

namespace switchyard::runtime {

inline constexpr char kReleasedIndex[] = "model.safetensors.index.json";

/// A safetensors file as it lies on the device, read in order.
class ReleasedFile {
 public:
  ReleasedFile(FileSystem& files, const std::filesystem::path& path);
  /// @param at  counted from the end of the header
  void read(std::int64_t at, std::span<std::byte> to);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  OpenFile file_;
  std::int64_t header_bytes_ = 0;
  std::string text_;
};

/// Names of the safetensors files, sorted.
[[nodiscard]] std::vector<std::string> safetensors_files(const std::filesystem::path& released);

/// A run that was exported over released weights, as its step. @pre kRunFile is there
Manifest import_run(FileSystem& files, const std::filesystem::path& released, const std::string& to,
                    const Spread& spread, const ByteProgress& progress);
/// Writes the weights in `like` with the state of a run in their place, to a folder that is there.
[[nodiscard]] Exported export_run(FileSystem& files, StoredCheckpoint& stored,
                                  const std::filesystem::path& like,
                                  const std::filesystem::path& to, const ByteProgress& progress);
}  // namespace switchyard::runtime
