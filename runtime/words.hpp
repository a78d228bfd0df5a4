// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Names of rules, activations and settings, as reports and flags spell them.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experts/weights.hpp"

namespace switchyard::runtime {
[[nodiscard]] std::string_view name_of(experts::CapacityRule rule);
/// All of them, kNone first.
[[nodiscard]] std::vector<experts::CapacityRule> capacity_rules();
/// @throws std::invalid_argument  "--routing-group: got '-1', want a number of tokens from 0"
[[nodiscard]] std::int64_t token_count_from(const std::string& where, const std::string& text);
/// @throws std::invalid_argument  listing the rules
[[nodiscard]] experts::CapacityRule capacity_rule_from(std::string_view name);
[[nodiscard]] std::string_view name_of(experts::Activation activation);
[[nodiscard]] std::string_view name_of(experts::Unit unit);
}  // namespace switchyard::runtime
