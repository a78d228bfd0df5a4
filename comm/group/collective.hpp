// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The few things that all ranks do together, off the data path. Built from bounded messages, so
/// that a rank that never comes ends in a DeadlineError and not in a hang.
#include <cstddef>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// Everyone's bytes, by rank, on every rank. Sizes may differ.
[[nodiscard]] std::vector<std::vector<std::byte>> allgather(Group& group,
                                                            std::span<const std::byte> mine,
                                                            Channel channel = kCollectives);
/// Everyone's bytes on rank 0, by rank; empty elsewhere.
[[nodiscard]] std::vector<std::vector<std::byte>> gather(Group& group,
                                                         std::span<const std::byte> mine);
/// Calls sink(rank, bytes) on rank 0 with everyone's bytes, rank after rank, in pieces of at most
/// 16 MiB, so that no rank ever holds the whole. The sink may be empty elsewhere.
void stream_to_root(Group& group, std::span<const std::byte> mine,
                    const std::function<void(int, std::span<const std::byte>)>& sink);
/// Rank 0's bytes on every rank.
[[nodiscard]] std::vector<std::byte> broadcast(Group& group, std::span<const std::byte> bytes);
/// Returns once every rank has called it.
void barrier(Group& group);

/// allgather of arrays of plain values.
template <class T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] std::vector<std::vector<T>> allgather_values(Group& group, std::span<const T> mine) {
  std::vector<std::vector<T>> all;
  for (const auto& bytes : allgather(group, std::as_bytes(mine))) {
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    all.push_back(std::move(values));
  }
  return all;
}

/// What went wrong on this rank, and the exit status of its kind.
struct Problem {
  int status = 70;
  std::string message;
};

/// If any rank has a problem, all ranks throw the same CollectiveError: the lowest such rank's
/// words and status, with how many others had one.
void agree(Group& group, const std::optional<Problem>& mine);
/// The same, and everyone's note, by rank, on every rank: what else there is to tell at this point
/// needs no messages of its own.
[[nodiscard]] std::vector<std::vector<std::byte>> agree(Group& group,
                                                        const std::optional<Problem>& mine,
                                                        std::span<const std::byte> note);
}  // namespace switchyard::comm
