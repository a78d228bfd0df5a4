// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Saving and loading against another program that writes, flushes and reads as many bytes, in
/// turn.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "comm/group/group.hpp"
#include "runtime/bench/timing.hpp"

namespace switchyard::runtime::bench {

struct CheckpointSettings {
  std::string directory;                   ///< where to write; what is made there goes again
  std::vector<std::int64_t> mib_per_rank;  ///< a row each
  Budget budget;
  std::function<void(const std::string& file, std::int64_t mib)> write_beside;  ///< and flush it
  std::function<void(const std::string& file)> read_beside;
};

/// Seconds of the slowest rank. Files are read from the disk: their pages are dropped before.
struct CheckpointResult {
  std::int64_t mib_per_rank = 0;
  std::int64_t repetitions = 0;
  Summary save_s;
  Summary beside_write_s;
  Summary load_s;
  Summary beside_read_s;
  Summary pause_s;         ///< of a save while the run goes on
  Summary memcpy_s;        ///< of the same bytes, into memory that is there
  double save_ratio = 0;   ///< speed over the other program's, median of neighbours
  double load_ratio = 0;   ///< the same
  double pause_ratio = 0;  ///< time over memcpy's
  std::int64_t wrong = 0;  ///< bytes that came back as others, on all ranks
};

struct CheckpointReport {
  std::vector<CheckpointResult> results;
  Summary steadiness;
};

/// Collective. @throws comm::CollectiveError  it cannot be saved; std::system_error
[[nodiscard]] CheckpointReport bench_checkpoint(comm::Group& group,
                                                const CheckpointSettings& settings);
}  // namespace switchyard::runtime::bench
