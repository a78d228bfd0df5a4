// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The check that every number of a range gets.
#include <cstdint>
#include <stdexcept>
#include <string>

namespace switchyard::experts {

/// @throws std::invalid_argument  "synthetic: step is -1, want 0 to 4294967295"
inline void require_range(const char* where, const char* what, std::int64_t value,
                          std::int64_t end) {
  if (value >= 0 && value < end) return;
  throw std::invalid_argument(std::string(where) + ": " + what + " is " + std::to_string(value) +
                              ", want 0 to " + std::to_string(end - 1));
}
}  // namespace switchyard::experts
