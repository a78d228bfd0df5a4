// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace switchyard {

// A count or an id, which are signed here, as the index of a container. It must not be negative.
constexpr std::size_t at(std::int64_t index) noexcept {
  return static_cast<std::size_t>(index);
}

}  // namespace switchyard
