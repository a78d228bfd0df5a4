// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/block_reader.hpp"

#include <algorithm>
#include <utility>

#include "comm/base/crc32c.hpp"
#include "runtime/checkpoint/messages.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::size_t kMostOpen = 32;
}

BlockReader::BlockReader(FileSystem& files, std::string folder, const Manifest& manifest)
    : files_(files), folder_(std::move(folder)), manifest_(manifest) {}

OpenFile& BlockReader::file(std::size_t shard) {
  const auto found = open_.find(shard);
  if (found != open_.end()) return *found->second;
  if (open_.size() >= kMostOpen) open_.erase(open_.begin());
  auto file = std::make_unique<OpenFile>(files_, folder_ + "/" + manifest_.shards[shard].file,
                                         FileSystem::Open::kRead);
  return *open_.emplace(shard, std::move(file)).first->second;
}

std::string BlockReader::where(std::size_t shard) const {
  return "step " + std::to_string(manifest_.info.step) + ": " + manifest_.shards[shard].file;
}

std::int64_t BlockReader::bytes_of_blocks(const PieceInfo& piece, std::int64_t first,
                                          std::int64_t count) {
  return std::min((first + count) * kCheckpointBlock, filled_bytes(piece.bytes)) -
         first * kCheckpointBlock;
}

std::vector<BadBlock> BlockReader::bad_blocks(std::size_t shard, const PieceInfo& piece,
                                              std::int64_t first, std::int64_t count,
                                              std::span<std::byte> to) {
  const auto want = static_cast<std::size_t>(bytes_of_blocks(piece, first, count));
  const std::int64_t at = piece.file_offset + first * kCheckpointBlock;
  const auto got = static_cast<std::size_t>(file(shard).read(to.first(want), at));
  bytes_read_ += static_cast<std::int64_t>(got);
  std::vector<BadBlock> bad;
  for (std::int64_t b = first; b < first + count; ++b) {
    const auto begin = static_cast<std::size_t>((b - first) * kCheckpointBlock);
    const auto length = static_cast<std::size_t>(bytes_of_blocks(piece, b, 1));
    BadBlock block{
        .block = b, .file_offset = piece.file_offset + b * kCheckpointBlock, .words = {}};
    block.words = "tensor " + manifest_.tensors[piece.tensor].name + ": block " +
                  std::to_string(b) + ", at byte " + std::to_string(block.file_offset) + ": ";
    if (begin + length > got) {
      block.words += "the file ends at byte " + std::to_string(at + static_cast<std::int64_t>(got));
      bad.push_back(std::move(block));
      continue;
    }
    const std::uint32_t sum = comm::crc32c(to.subspan(begin, length));
    const std::uint32_t right = piece.block_crc32c[static_cast<std::size_t>(b)];
    if (sum == right) continue;
    block.words += "checksum " + hex8(sum) + ", want " + hex8(right);
    bad.push_back(std::move(block));
  }
  return bad;
}

void BlockReader::read_blocks(std::size_t shard, const PieceInfo& piece, std::int64_t first,
                              std::int64_t count, std::span<std::byte> to) {
  const auto bad = bad_blocks(shard, piece, first, count, to);
  if (!bad.empty()) throw DamagedCheckpoint(where(shard) + ": " + bad.front().words);
}

void for_each_run(const Rectangle& piece, const Rectangle& wanted, const RunSink& sink) {
  const std::size_t dims = piece.offset.size();
  if (dims == 0) {
    sink(0, 0, 1);
    return;
  }
  std::vector<std::int64_t> from(dims);
  std::vector<std::int64_t> extent(dims);
  for (std::size_t d = 0; d < dims; ++d) {
    from[d] = std::max(piece.offset[d], wanted.offset[d]);
    extent[d] =
        std::min(piece.offset[d] + piece.extent[d], wanted.offset[d] + wanted.extent[d]) - from[d];
    if (extent[d] <= 0) return;
  }
  // Dimensions that are whole in both make one run with the next outer one.
  std::size_t inner = dims - 1;
  std::int64_t run = extent[inner];
  while (inner > 0 && extent[inner] == piece.extent[inner] &&
         extent[inner] == wanted.extent[inner]) {
    --inner;
    run *= extent[inner];
  }
  std::vector<std::int64_t> at = from;
  while (true) {
    std::int64_t in_piece = 0;
    std::int64_t in_wanted = 0;
    for (std::size_t d = 0; d < dims; ++d) {
      in_piece = in_piece * piece.extent[d] + at[d] - piece.offset[d];
      in_wanted = in_wanted * wanted.extent[d] + at[d] - wanted.offset[d];
    }
    sink(in_piece, in_wanted, run);
    std::size_t d = inner;
    while (d > 0 && ++at[d - 1] == from[d - 1] + extent[d - 1]) {
      at[d - 1] = from[d - 1];
      --d;
    }
    if (d == 0) return;
  }
}
}  // namespace switchyard::runtime
