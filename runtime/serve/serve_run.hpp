// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `run --serve`: MoE layers over a stream of tokens that go on when ranks die.
#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "comm/group/group.hpp"
#include "runtime/run/run.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/serve/crew.hpp"

namespace switchyard::runtime {

/// All optional but finish.
struct ServeHooks {
  comm::Observer* observer = nullptr;  ///< told where each rank is; outlives the call
  std::function<void(std::int64_t done, std::int64_t of)> progress;  ///< on every rank
  std::function<void()> loaded;  ///< on every rank: soon ranks may be lost, and must be let go
  std::function<void()> ready;   ///< on every rank: from here on they may
  std::function<void(std::string)> note;  ///< on the lowest rank that is left
  /// There too, and nothing is shown: all that are left found the same error.
  std::function<void(std::string)> failed;
  std::function<void()> output_begin;  ///< there too: output rows follow, perhaps once more
  std::function<void(std::span<const std::byte>)> output;
  /// There too, at the end, once: shows it. Returns the exit status.
  std::function<int(const RunResult&, const ServeReport&)> finish;
};

/// Collective over `base` until `ready`; from then on no rank waits for one that is lost. Tokens of
/// a lost rank are taken over: a step's tokens are those of its number, whoever is there. Returns
/// the status with which this process has to leave at once: MPI_Finalize may never return.
/// @throws comm::CollectiveError  before `ready`, on every rank
/// @throws comm::TakenForLost     this rank was slower than `silence`
int serve_run(comm::Group& base, const RunSettings& settings, const ServeSettings& serve,
              const ServeHooks& hooks);
}  // namespace switchyard::runtime
