// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a failure means to whoever started the program: its exit status, and one failure for all
/// ranks made of a failure on some.
#include <cstddef>
#include <exception>
#include <functional>
#include <span>
#include <vector>

#include "comm/group/collective.hpp"
#include "comm/group/group.hpp"

namespace switchyard::runtime {

inline constexpr int kDone = 0;
inline constexpr int kCheckFailed = 1;
inline constexpr int kUsage = 2;       ///< usage, config or data: running it again cannot help
inline constexpr int kInternal = 70;   ///< everything unknown
inline constexpr int kIo = 74;         ///< disk full, permission, no such file
inline constexpr int kTemporary = 75;  ///< hang, lost peer: run it again

/// std::invalid_argument is kUsage, std::system_error kIo, comm::TemporaryError kTemporary; a
/// comm::CollectiveError carries its own; the rest is kInternal.
[[nodiscard]] int status_of(const std::exception& error);

/// An exception as comm::agree wants it.
[[nodiscard]] comm::Problem problem_of(const std::exception& error);

/// Runs `body` on this rank, then compares notes. Collective; `body` must not use the group.
/// @throws comm::CollectiveError  on every rank, if `body` threw on any: the lowest such rank's
/// words
void together(comm::Group& group, const std::function<void()>& body);
/// The same, and everyone's note, by rank.
[[nodiscard]] std::vector<std::vector<std::byte>> together(comm::Group& group,
                                                           std::span<const std::byte> note,
                                                           const std::function<void()>& body);
}  // namespace switchyard::runtime
