// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Faults on demand: what is to go wrong, on which rank and where. Plain data and its text form.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

enum class FaultAction {
  kKill,      ///< SIGKILL to itself
  kStop,      ///< SIGSTOP to itself
  kSpin,      ///< computes for ever
  kSleep,     ///< once, for `value` seconds
  kSlow,      ///< `value` seconds each time from the nth on
  kSegv,      ///< SIGSEGV
  kAbort,     ///< SIGABRT, by std::abort
  kThrow,     ///< an exception of no known kind
  kBadAlloc,  ///< std::bad_alloc
  kExit0,     ///< ends with status 0 in the middle
  kExit1,     ///< ends with status 1 in the middle
  kSkip,      ///< leaves a collective, or half a round of an exchange, out
  kMismatch,  ///< enters another collective
  kCorrupt,   ///< spoils a header or line that another rank is sent
  kErrno,     ///< a call of the file system fails with `value`
};

/// One fault. What is not given matches everything.
struct Fault {
  FaultAction action = FaultAction::kKill;
  double value = 0;         ///< seconds, or an errno
  std::optional<int> rank;  ///< none: drawn from the seed
  std::optional<std::int64_t> step;
  std::optional<std::int64_t> layer;
  std::string phase;     ///< "" matches all; "expert" is "experts"
  std::string meeting;   ///< of skip and mismatch: dispatch, collect, allgather, ...
  std::string call;      ///< of errno: pwrite, fsync, rename, ...
  std::int64_t nth = 1;  ///< of the places that match
  std::optional<std::int64_t> incarnation = 0;  ///< of a supervised run; none: all
  /// "kill@rank=1,step=3,phase=combine,nth=1": gives it again.
  [[nodiscard]] std::string words() const;
};

/// "ACTION[=VALUE]@KEY=VALUE,...;...". Numbers may be ranges, "step=2..9", from which `seed` draws.
/// @throws std::invalid_argument  "--inject: got action 'kil', want kill, stop, ...; nearest is
/// kill"
[[nodiscard]] std::vector<Fault> faults_from(std::string_view text);

/// Draws the rank of those that name none. @throws std::invalid_argument  a rank that is not there
[[nodiscard]] std::vector<Fault> placed(std::vector<Fault> faults, std::uint64_t seed, int ranks);
/// The seed in the text of a plan, 0 if it has none.
[[nodiscard]] std::uint64_t seed_of_faults(std::string_view text);

/// A sentence for the help.
[[nodiscard]] std::string describe_faults();
}  // namespace switchyard::runtime
