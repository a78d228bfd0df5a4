// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Between plain structs and the messages of checkpoint.proto. For .cpp files of this folder only.
#include <cstddef>
#include <span>
#include <string>

#include "runtime/checkpoint/checkpoint.pb.h"
#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {
namespace proto = switchyard::checkpoint::v1;

void to_message(const TensorInfo& tensor, proto::Tensor& message);
void to_message(const PieceInfo& piece, proto::Piece& message);
void to_message(const ShardInfo& shard, proto::Shard& message);
/// Each checks that a number fits where it goes, and no more.
/// @throws DamagedCheckpoint  "WHERE: ..."
[[nodiscard]] TensorInfo from_message(const proto::Tensor& message, const std::string& where);
[[nodiscard]] PieceInfo from_message(const proto::Piece& message, const std::string& where);
[[nodiscard]] ShardInfo from_message(const proto::Shard& message, const std::string& where);

/// A whole number of a message as one of ours. @throws DamagedCheckpoint  it is above 2^62
[[nodiscard]] std::int64_t whole_number(std::uint64_t value, const char* what,
                                        const std::string& where);

/// Serialised. @throws std::invalid_argument  it takes more than `most` bytes
[[nodiscard]] std::string bytes_of_message(const google::protobuf::MessageLite& message,
                                           std::size_t most, const char* what);
/// @throws DamagedCheckpoint  "WHERE: no protobuf"
void parse_message(std::span<const std::byte> bytes, google::protobuf::MessageLite& message,
                   const std::string& where);

/// Little-endian numbers in fixed places.
void put_u32(std::string& to, std::uint32_t value);
void put_u64(std::string& to, std::uint64_t value);
[[nodiscard]] std::uint32_t u32_at(std::span<const std::byte> bytes, std::size_t at);
[[nodiscard]] std::uint64_t u64_at(std::span<const std::byte> bytes, std::size_t at);
/// "1a2b3c4d"
[[nodiscard]] std::string hex8(std::uint32_t value);

inline constexpr std::size_t kMostManifestBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMostIndexBytes = kMostManifestBytes;
}  // namespace switchyard::runtime
