// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Ranks as threads of one process: for tests, for one process that plays many, and for TSan.
#include <chrono>
#include <functional>
#include <memory>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// Runs `body` once a rank, each in a thread of its own with its own group, and waits for all. When
/// one throws, the others' waits end with a TemporaryError; the first exception is rethrown.
void run_local(int ranks, const std::function<void(Group&)>& body,
               std::chrono::milliseconds limit = std::chrono::seconds(60));

/// True if the ranks of this group are threads of one process, so that an address of one is good
/// for all.
[[nodiscard]] bool is_local(const Group& group);

/// A group of one that needs nobody.
[[nodiscard]] std::unique_ptr<Group> solo_group();
}  // namespace switchyard::comm
