// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "comm/base/crc32c.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/shard.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::size_t kChunk = std::size_t{4} << 20;   ///< of what has to be copied
constexpr std::size_t kLent = std::size_t{16} << 20;   ///< of what lies in memory as in the file
constexpr std::size_t kDirect = std::size_t{1} << 20;  ///< from here on past the page cache
constexpr std::int64_t kBegin = std::int64_t{16} << 20;

/// Writes a file from its start to its end in chunks. Bytes that lie one behind the other in memory
/// are not copied, and go to the device past the page cache if they are aligned, as a snapshot is:
/// a copy there would take processors from the steps, and memory from whoever has use for it.
class ChunkWriter {
 public:
  ChunkWriter(OpenFile& file, bool sum, WriteProgress* progress)
      : file_(file), sum_(sum), progress_(progress) {}

  /// @param stays  until it is flushed; else it is copied now
  void add(std::span<const std::byte> bytes, bool stays = true) {
    if (sum_) whole_ = comm::crc32c(bytes, whole_);
    while (!bytes.empty()) {
      const bool lend = stays && copied_.empty() &&
                        (lent_.empty() || lent_.data() + lent_.size() == bytes.data());
      if (!lend && lent_.size() >= kChunk) flush();
      const std::size_t most = lend ? kLent : kChunk;
      const std::size_t count = std::min(bytes.size(), most - pending());
      take(bytes.first(count), lend);
      bytes = bytes.subspan(count);
      if (pending() == most) flush();
    }
  }
  void flush() {
    if (progress_ != nullptr && progress_->stop.load(std::memory_order_relaxed)) {
      throw std::system_error(ECANCELED, std::generic_category(),
                              "checkpoint: cannot write " + file_.path());
    }
    if (lent_.size() >= kDirect) {
      file_.write_direct(lent_, at_);
    } else {
      file_.write(copied_.empty() ? lent_ : std::span<const std::byte>(copied_), at_);
    }
    at_ += static_cast<std::int64_t>(pending());
    if (at_ - begun_ >= kBegin) {  // else the device would wait until all is in memory
      file_.written(begun_, at_ - begun_);
      begun_ = at_;
    }
    if (progress_ != nullptr) progress_->bytes.store(at_, std::memory_order_relaxed);
    lent_ = {};
    copied_.clear();
  }
  [[nodiscard]] std::int64_t written() const { return at_; }
  [[nodiscard]] std::uint32_t checksum() const { return whole_; }  ///< of all, if wanted

 private:
  [[nodiscard]] std::size_t pending() const { return lent_.size() + copied_.size(); }
  void take(std::span<const std::byte> bytes, bool lend) {
    if (lend) {
      lent_ = {lent_.empty() ? bytes.data() : lent_.data(), lent_.size() + bytes.size()};
    } else {
      if (copied_.capacity() < kChunk) copied_.reserve(kChunk);
      copied_.insert(copied_.end(), lent_.begin(), lent_.end());
      lent_ = {};
      copied_.insert(copied_.end(), bytes.begin(), bytes.end());
    }
  }

  OpenFile& file_;
  bool sum_;
  WriteProgress* progress_;
  std::span<const std::byte> lent_;  ///< one of the two is empty
  std::vector<std::byte> copied_;
  std::int64_t at_ = 0;
  std::int64_t begun_ = 0;  ///< the device has been told of all before
  std::uint32_t whole_ = 0;
};

std::int64_t bytes_of(const ShardSource& source) {
  if (!source.read) return static_cast<std::int64_t>(source.bytes.size());
  return source.where.elements() * bytes_of(source.tensor.type);
}

/// Tables and places; checksums are still to come.
WrittenShard lay_out(const ShardLabel& label, std::span<const ShardSource> pieces) {
  WrittenShard written;
  written.shard.file = shard_name(label.shard, label.shards);
  std::map<std::string, std::size_t> known;
  std::int64_t next = kShardHeaderBytes;
  for (const ShardSource& source : pieces) {
    const auto [entry, fresh] = known.try_emplace(source.tensor.name, written.tensors.size());
    if (fresh) {
      check_tensor(source.tensor, "checkpoint");
      written.tensors.push_back(source.tensor);
    } else if (written.tensors[entry->second] != source.tensor) {
      throw std::invalid_argument("checkpoint: tensor " + source.tensor.name +
                                  ": pieces disagree on its type or shape");
    }
    const std::int64_t bytes = bytes_of(source);
    PieceInfo piece{entry->second, source.where, next, bytes, {}};
    piece.block_crc32c.resize(static_cast<std::size_t>(blocks_of(bytes)));
    check_piece(piece, source.tensor, "checkpoint");
    written.shard.pieces.push_back(std::move(piece));
    next += filled_bytes(bytes);
  }
  return written;
}

/// The same of bytes that are asked for, through one block of memory.
void write_asked_piece(ChunkWriter& writer, const ShardSource& source, PieceInfo& piece) {
  std::vector<std::byte> room(static_cast<std::size_t>(
      std::min<std::int64_t>(kCheckpointBlock, filled_bytes(piece.bytes))));
  std::int64_t at = 0;
  for (std::uint32_t& sum : piece.block_crc32c) {
    const std::int64_t count = std::min(kCheckpointBlock, piece.bytes - at);
    source.read(at, std::span(room).first(static_cast<std::size_t>(count)));
    const auto block = std::span(room).first(static_cast<std::size_t>(filled_bytes(count)));
    std::ranges::fill(block.subspan(static_cast<std::size_t>(count)), std::byte{});
    sum = comm::crc32c(block);
    writer.add(block, false);
    at += count;
  }
}

/// One piece with what fills it up, block by block.
void write_piece(ChunkWriter& writer, const ShardSource& source, PieceInfo& piece) {
  static constexpr std::array<std::byte, kCheckpointAlignment> kZeros{};
  const auto filling = static_cast<std::size_t>(filled_bytes(piece.bytes) - piece.bytes);
  std::span<const std::byte> rest = source.bytes;
  for (std::uint32_t& sum : piece.block_crc32c) {
    auto block = rest.first(std::min(rest.size(), static_cast<std::size_t>(kCheckpointBlock)));
    rest = rest.subspan(block.size());
    const bool last = rest.empty();
    if (last && source.filled) block = {block.data(), block.size() + filling};
    sum = comm::crc32c(block);
    writer.add(block);
    if (last && !source.filled && filling > 0) {
      const auto zeros = std::span(kZeros).first(filling);
      sum = comm::crc32c(zeros, sum);
      writer.add(zeros);
    }
  }
}

/// What the device has now must be what was written.
void compare(OpenFile& file, std::int64_t size, std::uint32_t want) {
  std::vector<std::byte> bytes(kChunk);
  std::uint32_t got = 0;
  std::int64_t at = 0;
  for (std::int64_t count = 0; (count = file.read(bytes, at)) > 0; at += count) {
    got = comm::crc32c(std::span(bytes).first(static_cast<std::size_t>(count)), got);
  }
  if (at == size && got == want) return;
  throw std::system_error(EIO, std::generic_category(),
                          "checkpoint: what was written is not there, in " + file.path());
}
}  // namespace

std::int64_t shard_bytes(std::span<const ShardSource> pieces) {
  std::int64_t bytes = kShardHeaderBytes + kShardTrailerBytes;
  for (const ShardSource& piece : pieces) {
    bytes += filled_bytes(bytes_of(piece));
  }
  return bytes;
}

WrittenShard write_shard(FileSystem& files, const std::string& path, const ShardLabel& label,
                         std::span<const ShardSource> pieces, bool read_back,
                         WriteProgress* progress) {
  WrittenShard written = lay_out(label, pieces);
  OpenFile file(files, path, FileSystem::Open::kCreate);
  file.allocate(shard_bytes(pieces));
  ChunkWriter writer(file, read_back, progress);
  const std::string header = encode_shard_header(label);
  written.shard.header_crc32c =
      comm::crc32c(std::as_bytes(std::span(header)).first(kShardHeaderBytes - 4));
  writer.add(std::as_bytes(std::span(header)));
  writer.flush();  // pieces begin on a page
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto write = pieces[i].read ? write_asked_piece : write_piece;
    write(writer, pieces[i], written.shard.pieces[i]);
  }
  const std::string index = encode_shard_index(written);
  ShardTrailer trailer{.step = label.step,
                       .incarnation = label.incarnation,
                       .shard = label.shard,
                       .shards = label.shards};
  trailer.index_offset = shard_bytes(pieces) - kShardTrailerBytes;
  trailer.index_bytes = static_cast<std::int64_t>(index.size());
  trailer.index_crc32c = comm::crc32c(std::as_bytes(std::span(index)));
  const std::string end = encode_shard_trailer(trailer);
  writer.add(std::as_bytes(std::span(index)));
  writer.add(std::as_bytes(std::span(end)));
  writer.flush();
  file.flush();
  if (read_back) compare(file, writer.written(), writer.checksum());
  file.close();
  written.shard.size = writer.written();
  written.shard.index_bytes = trailer.index_bytes;
  written.shard.index_crc32c = trailer.index_crc32c;
  return written;
}
}  // namespace switchyard::runtime
