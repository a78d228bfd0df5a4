// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint/preflight.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/checkpoint/ballot.hpp"
#include "runtime/checkpoint/commit.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/status.hpp"

namespace switchyard::runtime {
namespace {
/// What each rank says, ahead of its words.
struct Said {
  std::int64_t bytes = 0;  ///< of its shard
  std::int64_t room = 0;   ///< rank 0: in the folder
  std::int64_t status = 0;
};

/// Rank 0's part. @return  room in the folder
std::int64_t make_stage(FileSystem& files, const std::string& directory, const std::string& stage) {
  sweep(files, directory);
  make_folder(files, directory + "/" + stage);
  return room_in(files, directory);
}

void check_pieces(std::span<const ShardSource> pieces) {
  for (const ShardSource& source : pieces) {
    check_tensor(source.tensor, "checkpoint");
    const auto bytes = static_cast<std::int64_t>(source.bytes.size());
    PieceInfo piece{0, source.where, 0, bytes, {}};
    piece.block_crc32c.resize(static_cast<std::size_t>(blocks_of(bytes)));
    check_piece(piece, source.tensor, "checkpoint");
  }
}

std::string megabytes(std::int64_t bytes) {
  return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

/// Everyone's words as votes, so that the lowest rank's problem is told as everywhere else.
Preflight weigh(const std::vector<std::vector<std::byte>>& all, const std::string& directory) {
  Preflight result;
  std::int64_t room = 0;
  std::vector<Vote> votes(all.size());
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    Said said;
    std::memcpy(&said, all[rank].data(), sizeof said);
    result.bytes += said.bytes;
    if (rank == 0) room = said.room;
    if (said.status == 0) continue;
    const auto* words = reinterpret_cast<const char*>(all[rank].data() + sizeof said);
    votes[rank].problem = comm::Problem{.status = static_cast<int>(said.status),
                                        .message = {words, all[rank].size() - sizeof said}};
  }
  result.problem = problem_of(votes);
  const std::int64_t want = result.bytes + result.bytes / 20;
  if (!result.problem && room < want) {
    const std::system_error error(ENOSPC, std::generic_category(),
                                  "checkpoint: " + directory + " has room for " + megabytes(room) +
                                      ", want " + megabytes(want));
    result.problem = problem_of(error);
  }
  return result;
}
}  // namespace

Preflight prepare_save(comm::Group& group, FileSystem& files, const std::string& directory,
                       const std::string& stage, std::span<const ShardSource> pieces) {
  Said mine;
  std::string words;
  try {
    check_pieces(pieces);
    mine.bytes = shard_bytes(pieces);
    if (group.rank() == 0) mine.room = make_stage(files, directory, stage);
  } catch (const std::exception& error) {
    mine.status = status_of(error);
    words = error.what();
  }
  std::vector<std::byte> message(sizeof mine + words.size());
  std::memcpy(message.data(), &mine, sizeof mine);
  if (!words.empty()) std::memcpy(message.data() + sizeof mine, words.data(), words.size());
  Preflight result = weigh(comm::allgather(group, message), directory);
  if (result.problem && group.rank() == 0) sweep(files, directory);
  return result;
}
}  // namespace switchyard::runtime
