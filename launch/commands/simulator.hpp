// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Where the other program is, whose ranks are simulated.
#include <string>

namespace switchyard::launch {
/// switchyard-sim, beside this program.
/// @param who  the command that asks, for messages: "simulate"
/// @throws std::invalid_argument  it is not there
[[nodiscard]] std::string simulator_program(const std::string& who);
}  // namespace switchyard::launch
