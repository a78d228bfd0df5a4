// SPDX-License-Identifier: Apache-2.0
// The frame of a shard: header, index, trailer.
#include "runtime/checkpoint/shard.hpp"

#include <cstring>
#include <string_view>

#include "comm/base/crc32c.hpp"
#include "runtime/checkpoint/messages.hpp"

namespace switchyard::runtime {
namespace {
constexpr char kHeadMagic[] = "SYSHRD01";
constexpr char kEndMagic[] = "SYSEND01";
constexpr std::size_t kHeaderSum = kShardHeaderBytes - 4;
constexpr std::size_t kTrailerSum = kShardTrailerBytes - 4;

void check_frame(std::span<const std::byte> bytes, std::size_t size, std::string_view magic,
                 const std::string& where) {
  if (bytes.size() != size) {
    throw DamagedCheckpoint(where + ": " + std::to_string(bytes.size()) + " bytes, want " +
                            std::to_string(size));
  }
  if (std::memcmp(bytes.data(), magic.data(), magic.size()) != 0) {
    throw DamagedCheckpoint(where + ": does not begin with " + std::string(magic));
  }
  const std::uint32_t got = comm::crc32c(bytes.first(size - 4));
  const std::uint32_t want = u32_at(bytes, size - 4);
  if (got != want) {
    throw DamagedCheckpoint(where + ": checksum " + hex8(got) + ", want " + hex8(want));
  }
}
}  // namespace

std::string encode_shard_header(const ShardLabel& label) {
  proto::ShardHeader message;
  message.set_format_version(kCheckpointVersion);
  message.set_step(static_cast<std::uint64_t>(label.step));
  message.set_run_id(label.run_id);
  message.set_incarnation(label.incarnation);
  message.set_shard(static_cast<std::uint32_t>(label.shard));
  message.set_shards(static_cast<std::uint32_t>(label.shards));
  const std::string bytes = bytes_of_message(message, 1024, "the header of a shard");
  std::string header(kHeadMagic);
  put_u32(header, static_cast<std::uint32_t>(bytes.size()));
  header += bytes;
  header.resize(kHeaderSum, '\0');
  put_u32(header, comm::crc32c(std::as_bytes(std::span(header))));
  return header;
}

ShardLabel decode_shard_header(std::span<const std::byte> header, const std::string& where) {
  const std::string named = where + ": header";
  check_frame(header, kShardHeaderBytes, kHeadMagic, named);
  const std::size_t length = u32_at(header, 8);
  if (length > kHeaderSum - 12) {
    throw DamagedCheckpoint(named + ": length " + std::to_string(length) + ", want at most " +
                            std::to_string(kHeaderSum - 12));
  }
  proto::ShardHeader message;
  parse_message(header.subspan(12, length), message, named);
  return {.step = whole_number(message.step(), "step", named),
          .run_id = message.run_id(),
          .incarnation = message.incarnation(),
          .shard = static_cast<int>(message.shard()),
          .shards = static_cast<int>(message.shards())};
}

std::string encode_shard_trailer(const ShardTrailer& trailer) {
  std::string bytes(kEndMagic);
  put_u64(bytes, static_cast<std::uint64_t>(trailer.index_offset));
  put_u64(bytes, static_cast<std::uint64_t>(trailer.index_bytes));
  put_u64(bytes, static_cast<std::uint64_t>(trailer.step));
  put_u64(bytes, trailer.incarnation);
  put_u32(bytes, static_cast<std::uint32_t>(trailer.shard));
  put_u32(bytes, static_cast<std::uint32_t>(trailer.shards));
  put_u64(bytes, 0);
  put_u32(bytes, trailer.index_crc32c);
  put_u32(bytes, comm::crc32c(std::as_bytes(std::span(bytes))));
  return bytes;
}

ShardTrailer decode_shard_trailer(std::span<const std::byte> trailer, const std::string& where) {
  const std::string named = where + ": trailer";
  check_frame(trailer, kShardTrailerBytes, kEndMagic, named);
  static_assert(kTrailerSum == 60);
  return {.index_offset = whole_number(u64_at(trailer, 8), "index at", named),
          .index_bytes = whole_number(u64_at(trailer, 16), "index of", named),
          .step = whole_number(u64_at(trailer, 24), "step", named),
          .incarnation = u64_at(trailer, 32),
          .shard = static_cast<int>(u32_at(trailer, 40)),
          .shards = static_cast<int>(u32_at(trailer, 44)),
          .index_crc32c = u32_at(trailer, 56)};
}

std::string encode_shard_index(const WrittenShard& written) {
  proto::ShardIndex message;
  for (const TensorInfo& tensor : written.tensors) to_message(tensor, *message.add_tensor());
  for (const PieceInfo& piece : written.shard.pieces) to_message(piece, *message.add_piece());
  return bytes_of_message(message, kMostIndexBytes, "the index of a shard");
}

WrittenShard decode_shard_index(std::span<const std::byte> index, std::int64_t size,
                                const std::string& where) {
  const std::string named = where + ": index";
  proto::ShardIndex message;
  parse_message(index, message, named);
  WrittenShard written;
  written.shard.size = size;
  written.shard.index_bytes = static_cast<std::int64_t>(index.size());
  for (const proto::Tensor& tensor : message.tensor()) {
    written.tensors.push_back(from_message(tensor, named));
    check_tensor(written.tensors.back(), named);
  }
  std::int64_t next = kShardHeaderBytes;
  for (const proto::Piece& entry : message.piece()) {
    PieceInfo piece = from_message(entry, named);
    if (piece.tensor >= written.tensors.size()) {
      throw DamagedCheckpoint(named + ": piece of tensor number " + std::to_string(piece.tensor));
    }
    check_piece(piece, written.tensors[piece.tensor], named);
    if (piece.file_offset != next) {
      throw DamagedCheckpoint(named + ": piece at byte " + std::to_string(piece.file_offset) +
                              ", want " + std::to_string(next));
    }
    next += filled_bytes(piece.bytes);
    if (next > size) throw DamagedCheckpoint(named + ": pieces end behind the file");
    written.shard.pieces.push_back(std::move(piece));
  }
  if (next + written.shard.index_bytes + kShardTrailerBytes != size) {
    throw DamagedCheckpoint(named + ": pieces do not fill the file");
  }
  return written;
}
}  // namespace switchyard::runtime
