// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How a message about a wrong name ends.
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::launch {

/// ", nearest is CANDIDATE", or "" when none is near (runtime::nearest).
[[nodiscard]] std::string nearest_hint(std::string_view word,
                                       const std::vector<std::string>& candidates);
}  // namespace switchyard::launch
