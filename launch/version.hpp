// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Which Switchyard this is.
#include <string>

namespace switchyard::launch {
[[nodiscard]] std::string version();  ///< "0.1.0"
}  // namespace switchyard::launch
