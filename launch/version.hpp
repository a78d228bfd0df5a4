// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which Switchyard this is.
#include <string>

namespace switchyard::launch {
[[nodiscard]] std::string version();  ///< "0.1.0"
/// Of the tree that it was built from: "4e31c56", "4e31c56-dirty"; "unknown" without git.
[[nodiscard]] std::string commit();
}  // namespace switchyard::launch
