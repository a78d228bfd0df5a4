// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How this processor wants its weights fetched. Changes no bit. Included by the wide files: no
/// inline functions (panel.hpp has why).
#include <cstdint>

namespace switchyard::experts {

/// How far ahead of the loop weights are fetched where they are read as one stream: for few rows
/// into the first cache, for more into the second, where they can wait for the arithmetic.
inline constexpr std::int64_t kNearBytes = 4096;
inline constexpr std::int64_t kFarBytes = 16384;
/// Few: up to so many rows by operations that take four bytes of weights each time, or two.
inline constexpr unsigned kNearRows = 4;
inline constexpr unsigned kNearRowsOfHalves = 2;

/// Whether a core gets the most out of its memory by reading on in one place. If not, by eight
/// pages in turns.
[[nodiscard]] bool reads_ahead();
}  // namespace switchyard::experts
