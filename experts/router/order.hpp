// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// "Higher score first, then lower id" as one integer, so that every choice of the router orders
/// alike and none has to sort pairs.
#include <bit>
#include <cstdint>

namespace switchyard::experts {

/// Larger means better: the score's order in the upper half, the complement of the id in the lower.
/// -0 and +0 are equal. @param score  not NaN; -inf is below everything
[[nodiscard]] inline std::uint64_t order_key(float score, std::uint32_t id) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);  // -0 + 0 is +0
  const std::uint32_t ordered = (bits >> 31U) != 0U ? ~bits : bits | 0x80000000U;
  return (std::uint64_t{ordered} << 32U) | static_cast<std::uint32_t>(~id);
}

/// The id that went into a key.
[[nodiscard]] inline std::uint32_t id_of(std::uint64_t key) {
  return ~static_cast<std::uint32_t>(key);
}
}  // namespace switchyard::experts
