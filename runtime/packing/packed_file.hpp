// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One packed expert in a file: a header that says what it is (pack_cache.proto), checksums, and
/// its block, mapped read-only so that all processes of a machine have it in memory once.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "experts/dtype.hpp"

namespace switchyard::runtime {

/// Version of the file around the block.
inline constexpr std::uint32_t kPackedFileVersion = 1;

/// What a file has to say of itself to be used.
struct PackedLabel {
  std::string key;  ///< 64 hex digits: SHA-256 of what the block was made of
  experts::DType stored = experts::DType::kFloat32;
  std::int64_t bytes = 0;  ///< of the block
};

/// A mapped file; move-only.
class MappedBlock {
 public:
  MappedBlock() = default;
  explicit MappedBlock(std::span<const std::byte> file) : file_(file) {}
  MappedBlock(MappedBlock&& other) noexcept;
  MappedBlock& operator=(MappedBlock&& other) noexcept;
  MappedBlock(const MappedBlock&) = delete;
  MappedBlock& operator=(const MappedBlock&) = delete;
  ~MappedBlock();

  [[nodiscard]] std::span<const std::byte> file() const { return file_; }
  /// The block, on a page of its own. @pre open_packed made this
  [[nodiscard]] const std::byte* data() const { return file_.data() + first_; }

 private:
  friend std::optional<MappedBlock> open_packed(const std::filesystem::path& file,
                                                const PackedLabel& label, bool whole);
  std::span<const std::byte> file_;
  std::size_t first_ = 0;
};

/// Nothing if there is no such file.
/// @param whole  checks the block too, which reads all of it; else only the header
/// @throws std::invalid_argument  "FILE: of other weights"; not such a file, cut short, damaged, of
///                                another version, type or size
/// @throws std::system_error      it cannot be read; names it
[[nodiscard]] std::optional<MappedBlock> open_packed(const std::filesystem::path& file,
                                                     const PackedLabel& label, bool whole);

/// Under its name only when it is whole and on the device; whoever has the old one keeps it.
/// @param block  [label.bytes]
/// @throws std::system_error  "--pack-cache: cannot write FILE: No space left on device"
void write_packed(const std::filesystem::path& file, const PackedLabel& label,
                  std::span<const std::byte> block);
}  // namespace switchyard::runtime
