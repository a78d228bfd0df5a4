// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/verify.hpp"

#include <algorithm>
#include <set>

#include "runtime/checkpoint/block_reader.hpp"
#include "runtime/checkpoint/opening.hpp"
#include "runtime/checkpoint/shard.hpp"
#include "runtime/checkpoint/stored.hpp"

namespace switchyard::runtime {
namespace {
/// Reads all blocks of a shard; adds tensors that have a bad one.
void check_blocks(BlockReader& reader, const Manifest& manifest, std::size_t shard,
                  std::vector<std::byte>& room, StepVerdict& verdict,
                  std::set<std::size_t>& bad_tensors, const std::function<void()>& progress) {
  const std::int64_t most = StoredCheckpoint::kReadBytes / kCheckpointBlock;
  for (const PieceInfo& piece : manifest.shards[shard].pieces) {
    const std::int64_t blocks = blocks_of(piece.bytes);
    for (std::int64_t first = 0; first < blocks; first += most) {
      const std::int64_t count = std::min(most, blocks - first);
      for (const BadBlock& bad : reader.bad_blocks(shard, piece, first, count, room)) {
        bad_tensors.insert(piece.tensor);
        verdict.findings.push_back({.file = manifest.shards[shard].file,
                                    .part = "data",
                                    .offset = bad.file_offset,
                                    .block = bad.block,
                                    .tensor = manifest.tensors[piece.tensor].name,
                                    .words = reader.where(shard) + ": " + bad.words});
      }
      verdict.bytes += BlockReader::bytes_of_blocks(piece, first, count);
      progress();
    }
  }
}
}  // namespace

StepVerdict verify_checkpoint(FileSystem& files, const std::string& directory, std::int64_t step,
                              const std::function<void(std::int64_t, std::int64_t)>& progress) {
  StepVerdict verdict;
  verdict.step = step;
  Manifest manifest;
  try {
    manifest = read_manifest(files, directory, step);
  } catch (const std::exception& error) {
    verdict.findings.push_back({.file = "MANIFEST", .part = "manifest", .words = error.what()});
    return verdict;
  }
  verdict.tensors = static_cast<std::int64_t>(manifest.tensors.size());
  BlockReader reader(files, directory + "/" + step_name(step), manifest);
  std::vector<std::byte> room(static_cast<std::size_t>(StoredCheckpoint::kReadBytes));
  std::set<std::size_t> bad_tensors;
  std::int64_t all = 0;
  for (const ShardInfo& shard : manifest.shards) {
    for (const PieceInfo& piece : shard.pieces) all += filled_bytes(piece.bytes);
  }
  const auto tell = [&] {
    if (progress) progress(verdict.bytes, all);
  };
  for (std::size_t s = 0; s < manifest.shards.size(); ++s) {
    const ShardInfo& shard = manifest.shards[s];
    try {
      for (const ShardFlaw& flaw : flaws_of_shard(files, directory, manifest, s)) {
        verdict.findings.push_back(
            {.file = shard.file, .part = flaw.part, .offset = flaw.offset, .words = flaw.words});
      }
      check_blocks(reader, manifest, s, room, verdict, bad_tensors, tell);
    } catch (const std::exception& error) {  // it cannot be opened or read
      for (const PieceInfo& piece : shard.pieces) bad_tensors.insert(piece.tensor);
      verdict.findings.push_back({.file = shard.file, .part = "file", .words = error.what()});
    }
  }
  verdict.good_tensors = verdict.tensors - static_cast<std::int64_t>(bad_tensors.size());
  return verdict;
}

}  // namespace switchyard::runtime
