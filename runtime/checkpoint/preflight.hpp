// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Before a save: whether it can be, asked once of all ranks.
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "comm/group/collective.hpp"
#include "comm/group/group.hpp"
#include "runtime/checkpoint/file_system.hpp"
#include "runtime/checkpoint/shard.hpp"

namespace switchyard::runtime {

struct Preflight {
  std::int64_t bytes = 0;                ///< of all shards, but for indexes
  std::optional<comm::Problem> problem;  ///< the same on all ranks
};

/// Makes the stage (rank 0) and asks for room of 1.05 times what is to come. Where there is a
/// problem the stage is gone again. Collective.
[[nodiscard]] Preflight prepare_save(comm::Group& group, FileSystem& files,
                                     const std::string& directory, const std::string& stage,
                                     std::span<const ShardSource> pieces);
}  // namespace switchyard::runtime
