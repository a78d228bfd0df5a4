// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Before anything else, the ranks make sure that they run the same thing.
#include <string>
#include <vector>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// One thing that must be equal everywhere; opaque to comm. Small values may stand for themselves.
struct Field {
  std::string name;   ///< "seed"
  std::string value;  ///< "2", or a digest
};

/// Compares every rank's fields with the majority's (ties: with rank 0's).
/// @throws CollectiveError  status 2, on every rank, naming the odd rank and each odd field:
///         "handshake: rank 1 was started with other settings: seed is 2, want 1 as on 3 ranks"
void handshake(Group& group, const std::vector<Field>& fields);
}  // namespace switchyard::comm
