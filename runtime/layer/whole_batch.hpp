// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Decisions that look at other tokens (capacity, expert choice), taken over the tokens of all
/// ranks.
#include "comm/group/group.hpp"
#include "experts/router/router.hpp"

namespace switchyard::runtime {

/// Gathers every rank's routing, applies the rule once to the whole batch in global token order,
/// and cuts out this rank's tokens again. Every rank does the same work and finds the same answer.
/// Collective. Cost: scores and slots of all tokens on every rank.
[[nodiscard]] experts::Routing decide_whole_batch(comm::Group& group,
                                                  const experts::RouterSpec& spec,
                                                  experts::Routing mine);
}  // namespace switchyard::runtime
