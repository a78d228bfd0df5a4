// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One file of a checkpoint, what one rank writes: no messages, so that any thread may do it.
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

inline constexpr std::int64_t kShardHeaderBytes = 4096;
inline constexpr std::int64_t kShardTrailerBytes = 64;

/// What is said at the head of a shard.
struct ShardLabel {
  std::int64_t step = 0;
  std::string run_id;
  std::uint64_t incarnation = 0;
  int shard = 0;
  int shards = 1;
  bool operator==(const ShardLabel&) const = default;
};

/// A piece to be written, and where its bytes are.
struct ShardSource {
  TensorInfo tensor;
  Rectangle where;
  std::span<const std::byte> bytes;
  bool filled = false;  ///< zeros follow the bytes in memory, up to a multiple of 64
  /// Instead of bytes: gives those from `at` on, a block at a time and in order.
  std::function<void(std::int64_t at, std::span<std::byte> to)> read = {};
};

/// A shard as written: its own tensor table, and pieces that count in it.
struct WrittenShard {
  std::vector<TensorInfo> tensors;
  ShardInfo shard;
};

/// How far a writer has come, for whoever waits for it.
struct WriteProgress {
  std::atomic<std::int64_t> bytes = 0;
  std::atomic<bool> stop = false;  ///< set by who waits: give up
};

/// Bytes of the file, but for its index; for whoever looks for room.
[[nodiscard]] std::int64_t shard_bytes(std::span<const ShardSource> pieces);

/// Writes a file that must not exist, flushes and closes it. Pieces are written in the order given.
/// @param read_back  reads it all again, and compares
/// @param progress   may be null
/// @throws std::system_error     "checkpoint: cannot write FILE: No space left on device"
/// @throws std::invalid_argument  a piece that does not fit its tensor
[[nodiscard]] WrittenShard write_shard(FileSystem& files, const std::string& path,
                                       const ShardLabel& label, std::span<const ShardSource> pieces,
                                       bool read_back, WriteProgress* progress);

/// The first kShardHeaderBytes of a shard. @throws DamagedCheckpoint  "WHERE: header: checksum ...,
/// want ..."
[[nodiscard]] std::string encode_shard_header(const ShardLabel& label);
[[nodiscard]] ShardLabel decode_shard_header(std::span<const std::byte> header,
                                             const std::string& where);
struct ShardTrailer {
  std::int64_t index_offset = 0;
  std::int64_t index_bytes = 0;
  std::int64_t step = 0;
  std::uint64_t incarnation = 0;
  int shard = 0;
  int shards = 0;
  std::uint32_t index_crc32c = 0;
};
[[nodiscard]] ShardTrailer decode_shard_trailer(std::span<const std::byte> trailer,
                                                const std::string& where);
/// @param size  of the file; pieces must fill it from the header to the index
[[nodiscard]] WrittenShard decode_shard_index(std::span<const std::byte> index, std::int64_t size,
                                              const std::string& where);
[[nodiscard]] std::string encode_shard_trailer(const ShardTrailer& trailer);
[[nodiscard]] std::string encode_shard_index(const WrittenShard& written);
}  // namespace switchyard::runtime
