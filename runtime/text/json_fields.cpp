// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/json_fields.hpp"

#include <limits>
#include <stdexcept>

#include "runtime/model/checked_json.hpp"

namespace switchyard::runtime {

void refuse(const std::string& where, const nlohmann::json& got, const std::string& want) {
  const std::string words = got.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  throw std::invalid_argument(where + ": got " + shown(words) + ", want " + want);
}

void refuse(const std::string& where, const nlohmann::json* got, const std::string& want) {
  if (got != nullptr) refuse(where, *got, want);
  throw std::invalid_argument(where + ": got nothing, want " + want);
}

const nlohmann::json* field(const nlohmann::json& object, const std::string& key,
                            const std::string& where) {
  if (!object.is_object()) refuse(where, object, "an object");
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::json& object_field(const nlohmann::json& object, const std::string& key,
                                   const std::string& where) {
  const nlohmann::json* const value = field(object, key, where);
  if (value == nullptr || !value->is_object()) refuse(where + "." + key, value, "an object");
  return *value;
}

const nlohmann::json& list_field(const nlohmann::json& object, const std::string& key,
                                 const std::string& where) {
  const nlohmann::json* const value = field(object, key, where);
  if (value == nullptr || !value->is_array()) refuse(where + "." + key, value, "a list");
  return *value;
}

std::string text_field(const nlohmann::json& object, const std::string& key,
                       const std::string& where) {
  const nlohmann::json* const value = field(object, key, where);
  if (value == nullptr || !value->is_string()) refuse(where + "." + key, value, "a text");
  return value->get<std::string>();
}

bool flag_field(const nlohmann::json& object, const std::string& key, const std::string& where,
                std::optional<bool> fallback) {
  const nlohmann::json* const value = field(object, key, where);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_boolean()) refuse(where + "." + key, value, "true or false");
  return value->get<bool>();
}

std::int64_t id_of(const nlohmann::json& value, const std::string& where) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > std::uint64_t{kMost}) {
    refuse(where, value, "a whole number from 0 to " + std::to_string(kMost));
  }
  return value.get<std::int64_t>();
}
}  // namespace switchyard::runtime
