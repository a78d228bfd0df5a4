// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Parts of tensors out of the pieces of a checkpoint, block by checked block.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// A block that is not what the manifest says of it.
struct BadBlock {
  std::int64_t block = 0;
  std::int64_t file_offset = 0;
  std::string words;  ///< "tensor T: block 17, at byte 17829888: checksum 1a2b3c4d, want 5e6f7081"
};

/// The files of one step, opened as they are needed.
class BlockReader {
 public:
  /// @param manifest  must outlive this
  BlockReader(FileSystem& files, std::string folder, const Manifest& manifest);

  /// Reads and checks blocks [first, first + count) of a piece into `to`, filling included.
  /// @param to  at least as many bytes as they have
  /// @throws DamagedCheckpoint  the file is too short, or a checksum is another one
  /// @throws std::system_error  the file cannot be read
  void read_blocks(std::size_t shard, const PieceInfo& piece, std::int64_t first,
                   std::int64_t count, std::span<std::byte> to);
  /// The same, telling instead of throwing.
  [[nodiscard]] std::vector<BadBlock> bad_blocks(std::size_t shard, const PieceInfo& piece,
                                                 std::int64_t first, std::int64_t count,
                                                 std::span<std::byte> to);
  /// Bytes of that many blocks, filling included.
  [[nodiscard]] static std::int64_t bytes_of_blocks(const PieceInfo& piece, std::int64_t first,
                                                    std::int64_t count);
  /// "step 1200: shard-00003-of-00008.sy"
  [[nodiscard]] std::string where(std::size_t shard) const;
  [[nodiscard]] OpenFile& file(std::size_t shard);
  [[nodiscard]] std::int64_t bytes_read() const { return bytes_read_; }

 private:
  FileSystem& files_;
  std::string folder_;
  const Manifest& manifest_;
  std::map<std::size_t, std::unique_ptr<OpenFile>> open_;
  std::int64_t bytes_read_ = 0;
};

/// Called with runs that lie one behind the other in both, by rising place in the piece: elements
/// from `in_piece` of the piece are those from `in_wanted` of the wanted part.
using RunSink =
    std::function<void(std::int64_t in_piece, std::int64_t in_wanted, std::int64_t elements)>;
/// Of what a piece and a wanted part have in common; none if nothing.
void for_each_run(const Rectangle& piece, const Rectangle& wanted, const RunSink& sink);
}  // namespace switchyard::runtime
