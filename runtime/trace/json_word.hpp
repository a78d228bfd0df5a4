// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A value of a file of JSON, for messages about it.
#include <nlohmann/json.hpp>
#include <string>

namespace switchyard::runtime {

/// A number or a short text as it stands; what contains others, however deep, by its kind.
[[nodiscard]] inline std::string json_word(const nlohmann::json& value) {
  if (value.is_structured()) {
    return (value.empty() ? "an empty " : "an ") + std::string(value.type_name());
  }
  return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 40);
}
}  // namespace switchyard::runtime
