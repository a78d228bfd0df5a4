// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The name that was meant, for messages about names that are wrong.
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// The candidate with the fewest letters inserted, deleted or replaced (ties: the first), if at
/// most half of the longer word's letters have to be; "" otherwise.
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

/// "a, b or c".
[[nodiscard]] std::string one_of(const std::vector<std::string>& words);
}  // namespace switchyard::runtime
