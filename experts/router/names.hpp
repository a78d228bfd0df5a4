// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The names that messages and reports use for the router's rules.
#include <string_view>

#include "experts/router/spec.hpp"

namespace switchyard::experts {

/// "none", "deepspeed-top2", "deepspeed-probs", "deepspeed-position", "flaxformer", "colossal",
/// "device-budget", "recycle".
[[nodiscard]] std::string_view rule_name(CapacityRule rule);
}  // namespace switchyard::experts
