// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace switchyard::comm {

/// The least multiple of `to` bytes that holds `bytes`.
constexpr std::int64_t round_up(std::int64_t bytes, std::int64_t to) noexcept {
  return (bytes + to - 1) / to * to;
}
}  // namespace switchyard::comm
