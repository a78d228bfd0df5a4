// SPDX-License-Identifier: Apache-2.0
// Files of a saved step: the manifest, and the frames of a shard. Checksums are set right, so that
// what they protect is reached.
#include <string>
#include <vector>

#include "comm/base/crc32c.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/shard.hpp"
#include "tests/fuzz/targets.hpp"

namespace switchyard::fuzz {
namespace {

void put(std::vector<std::byte>& to, std::uint32_t word) {
  for (unsigned i = 0; i < 4; ++i) to.push_back(static_cast<std::byte>(word >> (8 * i)));
}

std::vector<std::byte> with_checksum(std::vector<std::byte> bytes) {
  put(bytes, comm::crc32c(bytes));
  return bytes;
}

std::vector<std::byte> letters(const char* magic) {
  std::vector<std::byte> bytes;
  for (; *magic != '\0'; ++magic) bytes.push_back(static_cast<std::byte>(*magic));
  return bytes;
}

void append(std::vector<std::byte>& to, Bytes bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
}  // namespace

/// The protobuf of MANIFEST. One that is taken says the same when it is written again.
void saved_manifest(Bytes bytes) {
  std::vector<std::byte> file = letters("SYMANF01");
  put(file, static_cast<std::uint32_t>(bytes.size()));
  append(file, bytes);
  file = with_checksum(std::move(file));
  may_refuse([&] {
    const runtime::Manifest manifest = runtime::decode_manifest(file, "MANIFEST");
    const std::string again = runtime::encode(manifest);
    const auto back = runtime::decode_manifest(std::as_bytes(std::span(again)), "MANIFEST");
    require(back.content_sha256 == manifest.content_sha256, "another content");
    require(back.tensors == manifest.tensors, "other tensors");
    for (const auto& tensor : manifest.tensors) require(tensor.bytes() >= 0, "negative bytes");
  });
}

/// First byte: header, trailer or index; then that part of a shard. An index says its file's size
/// in eight bytes before it.
void saved_shard(Bytes bytes) {
  Input input(bytes);
  switch (input.number<std::uint8_t>() % 3) {
    case 0: {
      const Bytes label = input.take(4000);
      std::vector<std::byte> header = letters("SYSHRD01");
      put(header, static_cast<std::uint32_t>(label.size()));
      append(header, label);
      header.resize(static_cast<std::size_t>(runtime::kShardHeaderBytes) - 4);
      header = with_checksum(std::move(header));
      may_refuse([&] {
        const auto read = runtime::decode_shard_header(header, "shard");
        const std::string again = runtime::encode_shard_header(read);
        require(runtime::decode_shard_header(std::as_bytes(std::span(again)), "shard") == read,
                "another label");
      });
      break;
    }
    case 1: {
      std::vector<std::byte> trailer = letters("SYSEND01");
      append(trailer, input.take(static_cast<std::size_t>(runtime::kShardTrailerBytes) - 12));
      trailer.resize(static_cast<std::size_t>(runtime::kShardTrailerBytes) - 4);
      trailer = with_checksum(std::move(trailer));
      may_refuse([&] { static_cast<void>(runtime::decode_shard_trailer(trailer, "shard")); });
      break;
    }
    default: {
      const auto size = input.number<std::int64_t>();
      may_refuse([&] {
        const auto read = runtime::decode_shard_index(input.rest(), size, "shard");
        for (const auto& piece : read.shard.pieces) {
          require(piece.tensor < read.tensors.size(), "a piece of no tensor");
          require(piece.file_offset >= runtime::kShardHeaderBytes, "a piece in the header");
        }
      });
    }
  }
}
}  // namespace switchyard::fuzz
