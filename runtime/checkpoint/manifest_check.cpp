// SPDX-License-Identifier: Apache-2.0
// Believes nothing: every number is checked before anything is allocated or read by it.
#include <algorithm>
#include <limits>
#include <string>

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/messages.hpp"
#include "runtime/checkpoint/shard.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::size_t kMostTensors = 1'000'000;
constexpr std::size_t kMostShards = 100'000;
constexpr std::size_t kMostPieces = 4096;  // of one tensor: they are compared with each other
constexpr std::size_t kMostName = 512;
constexpr std::size_t kMostRunId = 64;
constexpr std::int64_t kMostStep = 999'999'999'999;

template <class Got, class Want>
void require_equal(const std::string& where, const char* what, const Got& got, const Want& want) {
  if (got == want) return;
  throw DamagedCheckpoint(where + ": " + what + " " + std::to_string(got) + ", want " +
                          std::to_string(want));
}

void require_at_most(const std::string& where, const char* what, std::size_t got,
                     std::size_t most) {
  if (got <= most) return;
  throw DamagedCheckpoint(where + ": " + what + ": got " + std::to_string(got) + ", want at most " +
                          std::to_string(most));
}

bool printable(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

bool overlap(const Rectangle& a, const Rectangle& b) {
  for (std::size_t d = 0; d < a.offset.size(); ++d) {
    if (a.offset[d] + a.extent[d] <= b.offset[d] || b.offset[d] + b.extent[d] <= a.offset[d]) {
      return false;
    }
  }
  return true;
}

/// Each element of the tensor once: the pieces do not overlap and together have as many.
void check_cover(const TensorInfo& tensor, std::vector<const Rectangle*>& parts,
                 const std::string& where) {
  const std::string named = where + ": tensor " + tensor.name;
  require_at_most(named, "pieces", parts.size(), kMostPieces);
  std::ranges::sort(parts, {}, [](const Rectangle* part) { return part->offset; });
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    covered += parts[i]->elements();
    for (std::size_t j = i + 1; j < parts.size(); ++j) {
      const bool beyond =
          !tensor.shape.empty() && parts[j]->offset[0] >= parts[i]->offset[0] + parts[i]->extent[0];
      if (beyond) break;
      if (overlap(*parts[i], *parts[j])) {
        throw DamagedCheckpoint(named + ": pieces overlap, want each element once");
      }
    }
  }
  require_equal(named, "elements in pieces", covered, tensor.elements());
}

/// Pieces lie one behind the other, from the header to the index.
void check_shard(const ShardInfo& shard, const std::vector<TensorInfo>& tensors,
                 const std::string& where) {
  std::int64_t next = kShardHeaderBytes;
  for (const PieceInfo& piece : shard.pieces) {
    if (piece.tensor >= tensors.size()) {
      throw DamagedCheckpoint(where + ": piece of tensor number " + std::to_string(piece.tensor) +
                              ", want 0 to " + std::to_string(tensors.size()) + " less one");
    }
    const TensorInfo& tensor = tensors[piece.tensor];
    check_piece(piece, tensor, where);
    require_equal(where + ": tensor " + tensor.name, "piece at byte", piece.file_offset, next);
    next += filled_bytes(piece.bytes);  // both below 2^62: see check_piece
    if (next > shard.size) {
      throw DamagedCheckpoint(where + ": tensor " + tensor.name + ": piece ends at byte " +
                              std::to_string(next) + ", want at most the file's " +
                              std::to_string(shard.size));
    }
  }
  require_at_most(where, "bytes of index", static_cast<std::size_t>(shard.index_bytes),
                  kMostIndexBytes);
  require_equal(where, "size", shard.size, next + shard.index_bytes + kShardTrailerBytes);
}
}  // namespace

void check_tensor(const TensorInfo& tensor, const std::string& where) {
  if (tensor.name.empty() || tensor.name.size() > kMostName || !printable(tensor.name)) {
    throw DamagedCheckpoint(where + ": tensor's name of " + std::to_string(tensor.name.size()) +
                            " bytes, want 1 to 512 printable ones without spaces");
  }
  const std::string named = where + ": tensor " + tensor.name;
  const auto type = static_cast<int>(tensor.type);
  if (type < static_cast<int>(DataType::kFloat32) || type > static_cast<int>(DataType::kInt32)) {
    throw DamagedCheckpoint(named + ": element type " + std::to_string(type) + ", want 1 to 8");
  }
  require_at_most(named, "dimensions", tensor.shape.size(), 8);
  constexpr std::int64_t kMost = std::int64_t{1} << 60U;
  std::int64_t bytes = bytes_of(tensor.type);
  for (const std::int64_t extent : tensor.shape) {
    if (extent < 0 || extent > kMost ||
        (extent > 0 && __builtin_mul_overflow(bytes, extent, &bytes)) || bytes > kMost) {
      throw DamagedCheckpoint(named + ": shape has more than 2^60 bytes");
    }
  }
  constexpr std::int64_t kMostId = std::numeric_limits<std::uint32_t>::max();
  if (tensor.layer < -1 || tensor.layer > kMostId || tensor.expert < -1 ||
      tensor.expert > kMostId) {
    throw DamagedCheckpoint(named + ": layer " + std::to_string(tensor.layer) + ", expert " +
                            std::to_string(tensor.expert) + ", want 0 to 4294967295");
  }
}

void check_piece(const PieceInfo& piece, const TensorInfo& tensor, const std::string& where) {
  const std::string named = where + ": tensor " + tensor.name;
  require_equal(named, "dimensions of a piece's offset", piece.where.offset.size(),
                tensor.shape.size());
  require_equal(named, "dimensions of a piece's extent", piece.where.extent.size(),
                tensor.shape.size());
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
    const std::int64_t at = piece.where.offset[d];
    const std::int64_t extent = piece.where.extent[d];
    if (at >= 0 && extent >= 1 && extent <= tensor.shape[d] && at <= tensor.shape[d] - extent) {
      continue;
    }
    throw DamagedCheckpoint(named + ": piece has elements " + std::to_string(at) + " to " +
                            std::to_string(at) + " + " + std::to_string(extent) + " of dimension " +
                            std::to_string(d) + ", want 0 to " + std::to_string(tensor.shape[d]));
  }
  require_equal(named, "bytes of a piece", piece.bytes,
                piece.where.elements() * bytes_of(tensor.type));
  require_equal(named, "checksums of a piece", static_cast<std::int64_t>(piece.block_crc32c.size()),
                blocks_of(piece.bytes));
}

void check_manifest(const Manifest& manifest, const std::string& where) {
  const CheckpointInfo& info = manifest.info;
  if (info.step < 0 || info.step > kMostStep) {
    throw DamagedCheckpoint(where + ": step " + std::to_string(info.step) +
                            ", want 0 to 999999999999");
  }
  require_at_most(where, "bytes of run_id", info.run_id.size(), kMostRunId);
  if (!printable(info.run_id)) throw DamagedCheckpoint(where + ": run_id is not printable");
  if (manifest.shards.empty()) throw DamagedCheckpoint(where + ": no shards, want 1 or more");
  require_at_most(where, "shards", manifest.shards.size(), kMostShards);
  require_equal(where, "shards", manifest.shards.size(),
                static_cast<std::size_t>(std::max(info.writer_world, 0)));
  require_at_most(where, "tensors", manifest.tensors.size(), kMostTensors);
  const std::string* before = nullptr;
  for (const TensorInfo& tensor : manifest.tensors) {
    check_tensor(tensor, where);
    if (before != nullptr && *before >= tensor.name) {
      throw DamagedCheckpoint(where + ": tensor " + tensor.name + " behind " + *before +
                              ", want rising names, none twice");
    }
    before = &tensor.name;
  }
  std::vector<std::vector<const Rectangle*>> parts(manifest.tensors.size());
  for (std::size_t s = 0; s < manifest.shards.size(); ++s) {
    const ShardInfo& shard = manifest.shards[s];
    const std::string want = shard_name(static_cast<int>(s), info.writer_world);
    if (shard.file != want) {
      throw DamagedCheckpoint(where + ": shard " + std::to_string(s) + " has another name, want " +
                              want);
    }
    check_shard(shard, manifest.tensors, where + ": " + want);
    for (const PieceInfo& piece : shard.pieces) parts[piece.tensor].push_back(&piece.where);
  }
  for (std::size_t t = 0; t < parts.size(); ++t) {
    check_cover(manifest.tensors[t], parts[t], where);
  }
  const auto require_experts = [&](const std::vector<std::vector<std::int32_t>>& lists) {
    for (const auto& experts : lists) {
      if (std::ranges::any_of(experts, [](std::int32_t e) { return e < 0; })) {
        throw DamagedCheckpoint(where + ": placement has an expert below 0");
      }
    }
  };
  require_experts(info.experts_of);
  for (const auto& [layer, lists] : info.experts_in) require_experts(lists);
}
}  // namespace switchyard::runtime
