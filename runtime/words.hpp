// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Names of rules, activations and settings, as reports and flags spell them.
#include <string_view>

#include "experts/weights.hpp"

namespace switchyard::runtime {
[[nodiscard]] std::string_view name_of(experts::CapacityRule rule);
/// @throws std::invalid_argument  listing the rules
[[nodiscard]] experts::CapacityRule capacity_rule_from(std::string_view name);
[[nodiscard]] std::string_view name_of(experts::Activation activation);
[[nodiscard]] std::string_view name_of(experts::Unit unit);
}  // namespace switchyard::runtime
