// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How ranks are named in a message.
#include <cstdint>
#include <string>
#include <vector>

namespace switchyard::comm {

/// "rank 2", "ranks 1 and 2", "ranks 1, 2, 3, 4 and 9 others". Sorted, each once.
[[nodiscard]] std::string rank_names(std::vector<int> ranks);

/// "1 rank", "3 ranks".
[[nodiscard]] std::string counted(std::int64_t count, const std::string& noun);
}  // namespace switchyard::comm
