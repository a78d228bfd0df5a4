// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "runtime/checkpoint/block_reader.hpp"
#include "runtime/checkpoint/opening.hpp"
#include "runtime/checkpoint/stored.hpp"
#include "runtime/checkpoint/tools/rewrite.hpp"

namespace switchyard::runtime {
namespace {
/// Checked blocks of a piece, one after the other.
ShardSource source_of(BlockReader& reader, const Manifest& manifest, std::size_t shard,
                      const PieceInfo& piece) {
  const auto room = std::make_shared<std::vector<std::byte>>();
  return {.tensor = manifest.tensors[piece.tensor],
          .where = piece.where,
          .bytes = {},
          .read = [&reader, &piece, shard, room](std::int64_t at, std::span<std::byte> to) {
            const std::int64_t block = at / kCheckpointBlock;
            room->resize(static_cast<std::size_t>(BlockReader::bytes_of_blocks(piece, block, 1)));
            reader.read_blocks(shard, piece, block, 1, *room);
            std::copy_n(room->begin(), to.size(), to.begin());
            if (at + static_cast<std::int64_t>(to.size()) == piece.bytes) *room = {};
          }};
}

std::int64_t compare_window(std::span<const std::byte> one, std::span<const std::byte> other,
                            std::size_t size, std::int64_t& first) {
  if (std::ranges::equal(one, other)) return 0;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < one.size(); i += size) {
    if (std::ranges::equal(one.subspan(i, size), other.subspan(i, size))) continue;
    if (count++ == 0) first = static_cast<std::int64_t>(i / size);
  }
  return count;
}
}  // namespace

Manifest reshard(FileSystem& files, const StepPath& from, const std::string& to,
                 const Spread& spread, const ByteProgress& progress) {
  const std::int64_t step = resolve(files, from);
  const Manifest manifest = read_step(files, from.directory, step);
  BlockReader reader(files, from.directory + "/" + step_name(step), manifest);
  std::vector<ShardSource> sources;
  for (std::size_t s = 0; s < manifest.shards.size(); ++s) {
    for (const PieceInfo& piece : manifest.shards[s].pieces) {
      sources.push_back(source_of(reader, manifest, s, piece));
    }
  }
  Manifest written = write_step(files, to, manifest, std::move(sources), spread, progress);
  if (written.content_sha256 != manifest.content_sha256) {
    throw std::logic_error("checkpoint: reshard changed what the tensors hold");
  }
  return written;
}

std::vector<Difference> compare(FileSystem& files, const StepPath& one, const StepPath& other,
                                const ByteProgress& progress) {
  StoredCheckpoint a(files, one.directory, resolve(files, one));
  StoredCheckpoint b(files, other.directory, resolve(files, other));
  std::vector<Difference> found;
  std::int64_t all = 0;
  std::int64_t done = 0;
  for (const TensorInfo& tensor : a.tensors()) all += tensor.bytes();
  for (const TensorInfo& tensor : b.tensors()) {
    if (a.find(tensor.name) == nullptr) found.push_back({tensor.name, "only in the second"});
  }
  std::vector<std::byte> bytes_a;
  std::vector<std::byte> bytes_b;
  for (const TensorInfo& tensor : a.tensors()) {
    const TensorInfo* const match = b.find(tensor.name);
    if (match == nullptr) {
      found.push_back({tensor.name, "only in the first"});
      continue;
    }
    if (match->type != tensor.type || match->shape != tensor.shape) {
      found.push_back({tensor.name, "of another type or shape"});
      continue;
    }
    const std::int64_t size = bytes_of(tensor.type);
    std::int64_t differ = 0;
    std::int64_t first = -1;
    std::int64_t before = 0;
    for (const Rectangle& window : windows(tensor, StoredCheckpoint::kReadBytes / size)) {
      const auto count = static_cast<std::size_t>(window.elements() * size);
      bytes_a.resize(count);
      bytes_b.resize(count);
      a.read(tensor.name, window, tensor.type, bytes_a);
      b.read(tensor.name, window, tensor.type, bytes_b);
      std::int64_t at = 0;
      const std::int64_t here =
          compare_window(bytes_a, bytes_b, static_cast<std::size_t>(size), at);
      if (here > 0 && differ == 0) first = before + at;
      differ += here;
      before += window.elements();
      done += static_cast<std::int64_t>(count);
      if (progress) progress(done, all);
    }
    if (differ == 0) continue;
    found.push_back(
        {tensor.name, std::to_string(differ) + " of " + std::to_string(tensor.elements()) +
                          " elements differ, the first is number " + std::to_string(first)});
  }
  std::ranges::sort(found, {}, &Difference::tensor);
  return found;
}
}  // namespace switchyard::runtime
