// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/opening.hpp"

#include <cerrno>
#include <optional>
#include <system_error>

#include "comm/base/crc32c.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/messages.hpp"
#include "runtime/checkpoint/shard.hpp"

namespace switchyard::runtime {
namespace {
std::string step_words(std::int64_t step) {
  return "step " + std::to_string(step);
}

/// Runs `read`; a file that is not there, or that the device cannot give, is damage.
template <class Read>
auto or_damaged(const std::string& where, Read&& read) {
  try {
    return read();
  } catch (const DamagedCheckpoint&) {
    throw;
  } catch (const std::system_error& error) {
    const int code = error.code().value();
    if (code == ENOENT || code == ENOTDIR) throw DamagedCheckpoint(where + ": missing");
    if (code == EIO || code == ELOOP || code == EISDIR || code == EINVAL) {
      throw DamagedCheckpoint(where + ": " + error.code().message());
    }
    throw;
  }
}

void require_same(const std::string& where, const char* what, std::int64_t got, std::int64_t want) {
  if (got == want) return;
  throw DamagedCheckpoint(where + ": " + what + " " + std::to_string(got) + ", want " +
                          std::to_string(want));
}

std::vector<std::byte> read_part(OpenFile& file, std::int64_t at, std::int64_t bytes,
                                 const std::string& where) {
  std::vector<std::byte> part(static_cast<std::size_t>(bytes));
  const std::int64_t got = file.read(part, at);
  if (got != bytes) throw DamagedCheckpoint(where + ": ends at byte " + std::to_string(at + got));
  return part;
}

void check_label(const ShardLabel& got, const ShardLabel& want, const std::string& where) {
  require_same(where, "header: step", got.step, want.step);
  if (got.run_id != want.run_id) {
    throw DamagedCheckpoint(where + ": header: of run " + got.run_id + ", want " + want.run_id);
  }
  require_same(where, "header: incarnation", static_cast<std::int64_t>(got.incarnation),
               static_cast<std::int64_t>(want.incarnation));
  require_same(where, "header: shard", got.shard, want.shard);
  require_same(where, "header: shards", got.shards, want.shards);
}

/// The file's own index says the same as the manifest.
void compare_index(const WrittenShard& own, const Manifest& manifest, const ShardInfo& shard,
                   const std::string& where) {
  require_same(where, "index: pieces", static_cast<std::int64_t>(own.shard.pieces.size()),
               static_cast<std::int64_t>(shard.pieces.size()));
  for (std::size_t p = 0; p < shard.pieces.size(); ++p) {
    PieceInfo piece = own.shard.pieces[p];
    const bool same_tensor = own.tensors[piece.tensor] == manifest.tensors[shard.pieces[p].tensor];
    piece.tensor = shard.pieces[p].tensor;
    if (same_tensor && piece == shard.pieces[p]) continue;
    throw DamagedCheckpoint(where + ": index: tensor " + manifest.tensors[piece.tensor].name +
                            ": differs from the manifest");
  }
}
}  // namespace

Manifest read_manifest(FileSystem& files, const std::string& directory, std::int64_t step) {
  const std::string where = step_words(step) + ": MANIFEST";
  const std::string path = directory + "/" + step_name(step) + "/MANIFEST";
  const auto most = static_cast<std::int64_t>(kMostManifestBytes) + 16;
  const auto bytes = or_damaged(where, [&] {
    FileStatus status;
    const int code = files.status(path, status);
    if (code < 0) fail_file(-code, "read", path);
    if (status.kind != FileStatus::Kind::kFile) {
      throw DamagedCheckpoint(where + ": not a regular file");
    }
    if (status.size > most) {
      throw DamagedCheckpoint(where + ": size " + std::to_string(status.size) + ", want at most " +
                              std::to_string(most));
    }
    return read_small(files, path, most);
  });
  Manifest manifest = decode_manifest(bytes, where);
  require_same(where, "step", manifest.info.step, step);
  return manifest;
}

std::vector<ShardFlaw> flaws_of_shard(FileSystem& files, const std::string& directory,
                                      const Manifest& manifest, std::size_t number) {
  const CheckpointInfo& info = manifest.info;
  const ShardInfo& shard = manifest.shards[number];
  const std::string where = step_words(info.step) + ": " + shard.file;
  const std::string path = directory + "/" + step_name(info.step) + "/" + shard.file;
  std::vector<ShardFlaw> flaws;
  std::optional<OpenFile> file;
  const auto try_part = [&](const char* part, std::int64_t offset, const auto& check) {
    try {
      or_damaged(where, check);
    } catch (const DamagedCheckpoint& error) {
      flaws.push_back({part, offset, error.what()});
    }
  };
  try_part("file", 0, [&] {
    FileStatus status;
    const int code = files.status(path, status);
    if (code < 0) fail_file(-code, "read", path);
    if (status.kind != FileStatus::Kind::kFile) {
      throw DamagedCheckpoint(where + ": not a regular file");
    }
    require_same(where, "size", status.size, shard.size);
    file.emplace(files, path, FileSystem::Open::kRead);
  });
  if (!file) return flaws;
  try_part("header", 0, [&] {
    const auto header = read_part(*file, 0, kShardHeaderBytes, where);
    check_label(decode_shard_header(header, where),
                {.step = info.step,
                 .run_id = info.run_id,
                 .incarnation = info.incarnation,
                 .shard = static_cast<int>(number),
                 .shards = info.writer_world},
                where);
    require_same(where, "header: checksum", u32_at(header, kShardHeaderBytes - 4),
                 shard.header_crc32c);
  });
  const std::int64_t end = shard.size - kShardTrailerBytes;
  const std::int64_t begin = end - shard.index_bytes;
  try_part("index", begin, [&] {
    const auto index = read_part(*file, begin, shard.index_bytes, where);
    const std::uint32_t sum = comm::crc32c(index);
    if (sum != shard.index_crc32c) {
      throw DamagedCheckpoint(where + ": index: checksum " + hex8(sum) + ", want " +
                              hex8(shard.index_crc32c));
    }
    compare_index(decode_shard_index(index, shard.size, where), manifest, shard, where);
  });
  try_part("trailer", end, [&] {
    const ShardTrailer trailer =
        decode_shard_trailer(read_part(*file, end, kShardTrailerBytes, where), where);
    require_same(where, "trailer: index at", trailer.index_offset, begin);
    require_same(where, "trailer: index of", trailer.index_bytes, shard.index_bytes);
    require_same(where, "trailer: step", trailer.step, info.step);
    require_same(where, "trailer: checksum of the index", trailer.index_crc32c, shard.index_crc32c);
  });
  return flaws;
}

Manifest read_step(FileSystem& files, const std::string& directory, std::int64_t step, int rank,
                   int ranks) {
  Manifest manifest = read_manifest(files, directory, step);
  const auto stride = static_cast<std::size_t>(ranks);
  for (auto s = static_cast<std::size_t>(rank); s < manifest.shards.size(); s += stride) {
    const auto flaws = flaws_of_shard(files, directory, manifest, s);
    if (!flaws.empty()) throw DamagedCheckpoint(flaws.front().words);
  }
  return manifest;
}
}  // namespace switchyard::runtime
