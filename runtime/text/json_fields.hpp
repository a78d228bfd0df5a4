// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Fields of JSON objects that nobody vouches for, with messages that name file and key.
/// For .cpp files only.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace switchyard::runtime {

/// The value of `key`; a null pointer where the object has none, or null.
/// @throws std::invalid_argument  "FILE: model: got 3, want an object"
[[nodiscard]] const nlohmann::json* field(const nlohmann::json& object, const std::string& key,
                                          const std::string& where);
/// The same, of an object or a list that has to be there.
[[nodiscard]] const nlohmann::json& object_field(const nlohmann::json& object,
                                                 const std::string& key, const std::string& where);
[[nodiscard]] const nlohmann::json& list_field(const nlohmann::json& object, const std::string& key,
                                               const std::string& where);
/// @throws std::invalid_argument  "FILE: model.type: got 3, want a text"
[[nodiscard]] std::string text_field(const nlohmann::json& object, const std::string& key,
                                     const std::string& where);
/// @param fallback  where the key is missing or null; none: then it is an error
[[nodiscard]] bool flag_field(const nlohmann::json& object, const std::string& key,
                              const std::string& where,
                              std::optional<bool> fallback = std::nullopt);
/// A token id: 0 to 2^31 - 1.
[[nodiscard]] std::int64_t id_of(const nlohmann::json& value, const std::string& where);
/// "got 3, want an object", thrown behind `where`.
[[noreturn]] void refuse(const std::string& where, const nlohmann::json& got,
                         const std::string& want);
[[noreturn]] void refuse(const std::string& where, const nlohmann::json* got,
                         const std::string& want);
}  // namespace switchyard::runtime
