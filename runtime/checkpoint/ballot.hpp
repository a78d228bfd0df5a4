// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What ranks tell each other of a save, and the manifest that comes of it.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/group/collective.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/shard.hpp"

namespace switchyard::runtime {

/// A rank's shard is on the device, or why not.
struct Vote {
  std::optional<comm::Problem> problem;
  WrittenShard written;  ///< if there is none
};
[[nodiscard]] std::string encode(const Vote& vote);
[[nodiscard]] Vote decode_vote(const std::string& text, int from);

/// How the save ended.
struct Verdict {
  std::optional<comm::Problem> problem;
  std::int64_t bytes = 0;  ///< of all shards
};
[[nodiscard]] std::string encode(const Verdict& verdict);
[[nodiscard]] Verdict decode_verdict(const std::string& text);

/// The lowest rank's problem, with its number; nothing if all could write.
[[nodiscard]] std::optional<comm::Problem> problem_of(const std::vector<Vote>& votes);

/// One manifest of all shards, checked like one that is read.
/// @throws std::invalid_argument  ranks disagree on a tensor, an element is saved twice or never
[[nodiscard]] Manifest merge(const CheckpointInfo& info, std::vector<Vote> votes);
}  // namespace switchyard::runtime
