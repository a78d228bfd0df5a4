// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// `verify laws`: random blocks in random settings, held against the laws of the design and against
/// the single-process reference.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "comm/group/group.hpp"
#include "runtime/verify/law_case.hpp"

namespace switchyard::runtime {

/// What was checked, for one case or many.
struct LawCounts {
  std::int64_t cases = 0;
  std::int64_t failed = 0;
  std::int64_t rows_out = 0;    ///< rows that crossed ranks
  double worst_over_limit = 0;  ///< largest error over its derived bound
  std::map<std::string, std::int64_t> drawn;
  std::string first_failure;  ///< what broke, and the shrunken case; empty if nothing did
};

/// Runs one case over the group. Placement, replicas, transport, chunks, threads, instruction set
/// and rank count are compared bit by bit, with native math within one instruction set, with a
/// narrow wire between nodes within one placement; conservation is counted; routing must equal the
/// reference's and logits and outputs lie within its derived bounds. Collective: every rank returns
/// the same.
/// @returns what broke first, naming the rank
[[nodiscard]] std::optional<std::string> check_case(comm::Group& group, const LawCase& law,
                                                    Inject inject, LawCounts& counts);

/// `cases` cases from `seed` on; after the first failure shrinks it and stops.
/// @param progress  called on every rank before each case
[[nodiscard]] LawCounts verify_laws(comm::Group& group, std::uint64_t seed, std::int64_t cases,
                                    Inject inject,
                                    const std::function<void(std::int64_t)>& progress);
}  // namespace switchyard::runtime
