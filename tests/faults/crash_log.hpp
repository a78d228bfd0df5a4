// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a crash may leave of a log of changes, and what broken protocols would have logged.
#include <cstdint>
#include <string>
#include <vector>

#include "tests/faults/campaign.hpp"
#include "tests/faults/memory_files.hpp"

namespace switchyard::faults {

/// A disk after a crash. What was flushed is there; of the rest each change may be there or not, in
/// any order but that of one file's or folder's kept changes: bytes lost, cut in a sector, zeroed.
struct CrashState {
  std::map<int, Node> nodes;
  std::uint64_t decisions = 0;  ///< a hash of them: equal states of a crash point have equal ones
};

/// @param end  changes [0, end) were made before the crash
[[nodiscard]] CrashState crash(const std::vector<Change>& log, std::size_t end, Random& random);

/// Protocols that a kill test would pass.
enum class Mutant {
  kNone,
  kNoFileFlush,
  kNoFolderFlush,
  kManifestFirst,
  kToldBeforeCommit,
  kPruneBeforeCommit,
  kRenameBeforeFlush
};
[[nodiscard]] std::string name_of(Mutant mutant);
/// What that protocol would have done for the same saves.
[[nodiscard]] std::vector<Change> mutated(const std::vector<Change>& log, Mutant mutant);
}  // namespace switchyard::faults
