// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `generate --serve`: prompts to continuations that go on when ranks die. Every rank knows all ids
/// that were chosen, so that those of a lost rank's prompts are continued by others.
#include <functional>
#include <string>
#include <vector>

#include "comm/endure/enduring_group.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/serve/crew.hpp"

namespace switchyard::runtime {

/// What is served, on one rank; all of it outlives the call.
struct ServedModel {
  LanguageModel& model;
  const std::vector<MoeLayer*>& layers;
  const Placement& plan;  ///< who had what at the start
};

/// What it cost to go on.
struct ReadAgain {
  std::int64_t sequences = 0;  ///< read again from their first token
  std::int64_t tokens = 0;     ///< of them, prompts and what had been chosen
};

/// On the lowest rank that is left, at the end, one of them, once.
struct ServedEnd {
  /// Returns the exit status.
  std::function<int(const Generated&, const ReadAgain&, const ServeReport&)> show;
  std::function<void(std::string)> failed;  ///< all that are left found the same error
};

/// After a loss or a join the sequences of the lost ranks get new homes, where they are read again
/// from their prompts and the ids that were chosen; those of the others go on where they are, if
/// the state can be taken back to the last step that was over. When lost experts are back all are
/// read again, for their states were computed without. Chosen ids stay.
/// @param crew  of the model's layers
/// @return      the status with which this process has to leave at once
/// @throws comm::TakenForLost  this rank was slower than it may be, or a spare that cannot load
int serve_generate(comm::Membership& membership, comm::EnduringGroup& group, Crew& crew,
                   const ServedModel& served, const std::vector<TokenIds>& prompts,
                   const GenerateSettings& settings, const ServedEnd& end);
}  // namespace switchyard::runtime
