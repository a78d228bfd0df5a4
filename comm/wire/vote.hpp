// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Finds the ranks that differ from the others. Pure; the messages are handshake.hpp's and
/// wire.hpp's.
#include <optional>
#include <string>
#include <vector>

#include "comm/wire/handshake.hpp"

namespace switchyard::comm {

/// The lowest rank that differs, and what about it and the others that do.
struct Odd {
  int rank = 0;
  std::string words;  ///< "rank 1 SAID: seed is 2, want 1 as on 3 ranks; rank 3: ..."
};

/// Compares each field with what most ranks have (ties: with what rank 0 has, if it is among them,
/// else with the lowest rank's). A field that a rank lacks is a value like any other.
/// @param ranks  by rank, its fields; names unique within a rank, order free
/// @param said   what the first odd rank did: "was started with other settings"
[[nodiscard]] std::optional<Odd> find_odd(const std::vector<std::vector<Field>>& ranks,
                                          const std::string& said);
}  // namespace switchyard::comm
