// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A step written by one process: sources spread over files, a stage, a manifest, and the commit.
#include <string>
#include <vector>

#include "runtime/checkpoint/shard.hpp"
#include "runtime/checkpoint/tools/tools.hpp"

namespace switchyard::runtime {

/// By file. Sources keep their order within one. @throws std::invalid_argument  experts_of of
/// another number of files, or an expert without a file
[[nodiscard]] std::vector<std::vector<ShardSource>> spread_over(std::vector<ShardSource> sources,
                                                                const Spread& spread);

/// @param like  what the new manifest says of the run, and the fields of later versions it carries
/// @throws std::system_error  ENOSPC before anything is written, if there is no room
Manifest write_step(FileSystem& files, const std::string& directory, const Manifest& like,
                    std::vector<ShardSource> sources, const Spread& spread,
                    const ByteProgress& progress);

/// Parts of a tensor, in order, each of at most `most` elements and dense in it.
[[nodiscard]] std::vector<Rectangle> windows(const TensorInfo& tensor, std::int64_t most);
}  // namespace switchyard::runtime
