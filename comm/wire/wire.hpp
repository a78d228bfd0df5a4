// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The messages of wire.proto that ranks exchange when an exchange is opened.
#include <cstdint>
#include <string>

#include "comm/group/group.hpp"

namespace switchyard::comm {

/// What frames an exchange will send.
struct FrameSetup {
  std::uint32_t version = 0;
  std::uint32_t header_bytes = 0;
  std::string transport;
  std::uint32_t epoch = 0;
};

/// Compares every rank's setup. Collective.
/// @throws CollectiveError  status 2, on every rank: "exchange: rank 1 opened another one:
/// transport
///                          is alltoallv, want p2p as on 3 ranks"
/// @throws ProtocolError    a rank sent something else at this point
void require_same_frames(Group& group, const FrameSetup& mine);
}  // namespace switchyard::comm
