// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/messages.hpp"

#include <array>
#include <cstdio>
#include <limits>

namespace switchyard::runtime {
namespace {
template <class Numbers>
std::vector<std::int64_t> whole_numbers(const Numbers& values, const char* what,
                                        const std::string& where) {
  constexpr int kMost = 8;
  if (values.size() > kMost) {
    throw DamagedCheckpoint(where + ": " + what + ": got " + std::to_string(values.size()) +
                            " dimensions, want at most 8");
  }
  std::vector<std::int64_t> result;
  for (const std::uint64_t value : values) result.push_back(whole_number(value, what, where));
  return result;
}
}  // namespace

std::int64_t whole_number(std::uint64_t value, const char* what, const std::string& where) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62U;
  if (value <= kMost) return static_cast<std::int64_t>(value);
  throw DamagedCheckpoint(where + ": " + what + ": got " + std::to_string(value) +
                          ", want at most " + std::to_string(kMost));
}

void to_message(const TensorInfo& tensor, proto::Tensor& message) {
  message.set_name(tensor.name);
  message.set_type(static_cast<proto::DataType>(tensor.type));
  message.clear_shape();
  for (const std::int64_t extent : tensor.shape) {
    message.add_shape(static_cast<std::uint64_t>(extent));
  }
  message.clear_layer();
  message.clear_expert();
  if (tensor.layer >= 0) message.set_layer(static_cast<std::uint32_t>(tensor.layer));
  if (tensor.expert >= 0) message.set_expert(static_cast<std::uint32_t>(tensor.expert));
}

void to_message(const PieceInfo& piece, proto::Piece& message) {
  message.set_tensor(static_cast<std::uint32_t>(piece.tensor));
  for (const std::int64_t at : piece.where.offset) {
    message.add_offset(static_cast<std::uint64_t>(at));
  }
  for (const std::int64_t extent : piece.where.extent) {
    message.add_extent(static_cast<std::uint64_t>(extent));
  }
  message.set_file_offset(static_cast<std::uint64_t>(piece.file_offset));
  message.set_bytes(static_cast<std::uint64_t>(piece.bytes));
  for (const std::uint32_t sum : piece.block_crc32c) message.add_block_crc32c(sum);
}

void to_message(const ShardInfo& shard, proto::Shard& message) {
  message.set_file(shard.file);
  message.set_size(static_cast<std::uint64_t>(shard.size));
  message.set_index_bytes(static_cast<std::uint64_t>(shard.index_bytes));
  message.set_header_crc32c(shard.header_crc32c);
  message.set_index_crc32c(shard.index_crc32c);
  for (const PieceInfo& piece : shard.pieces) to_message(piece, *message.add_piece());
}

TensorInfo from_message(const proto::Tensor& message, const std::string& where) {
  TensorInfo tensor;
  tensor.name = message.name();
  tensor.type = static_cast<DataType>(message.type());
  tensor.shape = whole_numbers(message.shape(), "shape", where + ": tensor");
  if (message.has_layer()) tensor.layer = message.layer();
  if (message.has_expert()) tensor.expert = message.expert();
  return tensor;
}

PieceInfo from_message(const proto::Piece& message, const std::string& where) {
  PieceInfo piece;
  piece.tensor = message.tensor();
  piece.where.offset = whole_numbers(message.offset(), "offset", where + ": piece");
  piece.where.extent = whole_numbers(message.extent(), "extent", where + ": piece");
  piece.file_offset = whole_number(message.file_offset(), "file_offset", where + ": piece");
  piece.bytes = whole_number(message.bytes(), "bytes", where + ": piece");
  piece.block_crc32c.assign(message.block_crc32c().begin(), message.block_crc32c().end());
  return piece;
}

ShardInfo from_message(const proto::Shard& message, const std::string& where) {
  ShardInfo shard;
  shard.file = message.file();
  shard.size = whole_number(message.size(), "size", where + ": shard");
  shard.index_bytes = whole_number(message.index_bytes(), "index_bytes", where + ": shard");
  shard.header_crc32c = message.header_crc32c();
  shard.index_crc32c = message.index_crc32c();
  for (const proto::Piece& piece : message.piece()) {
    shard.pieces.push_back(from_message(piece, where));
  }
  return shard;
}

std::string bytes_of_message(const google::protobuf::MessageLite& message, std::size_t most,
                             const char* what) {
  std::string bytes;
  // Asked first: a message above 2 GiB serialises to nothing.
  if (message.ByteSizeLong() > most || !message.SerializeToString(&bytes)) {
    throw std::invalid_argument(std::string("checkpoint: ") + what + " takes " +
                                std::to_string(message.ByteSizeLong()) + " bytes, want at most " +
                                std::to_string(most));
  }
  return bytes;
}

void parse_message(std::span<const std::byte> bytes, google::protobuf::MessageLite& message,
                   const std::string& where) {
  if (bytes.size() > std::size_t{std::numeric_limits<int>::max()} ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw DamagedCheckpoint(where + ": no protobuf");
  }
}

void put_u32(std::string& to, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) to += static_cast<char>((value >> (8 * i)) & 0xFFU);
}

void put_u64(std::string& to, std::uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) to += static_cast<char>((value >> (8 * i)) & 0xFFU);
}

std::uint32_t u32_at(std::span<const std::byte> bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < 4; ++i) {
    value |= std::to_integer<std::uint32_t>(bytes[at + i]) << (8 * i);
  }
  return value;
}

std::uint64_t u64_at(std::span<const std::byte> bytes, std::size_t at) {
  return u32_at(bytes, at) | std::uint64_t{u32_at(bytes, at + 4)} << 32U;
}

std::string hex8(std::uint32_t value) {
  std::array<char, 9> text{};
  std::snprintf(text.data(), text.size(), "%08x", value);
  return text.data();
}
}  // namespace switchyard::runtime
