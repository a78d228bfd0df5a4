// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/config_reader.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace switchyard::runtime {

struct ConfigReader::Object {
  nlohmann::json value;
  std::string path;  ///< "ffn_config." in front of keys

  /// nullptr when missing or null.
  [[nodiscard]] const nlohmann::json* find(const std::string& key) const {
    const auto found = value.find(key);
    return found == value.end() || found->is_null() ? nullptr : &*found;
  }
};

namespace {
std::optional<std::int64_t> whole(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number <= static_cast<std::uint64_t>(INT64_MAX)) return static_cast<std::int64_t>(number);
  } else if (value.is_number_integer()) {
    return value.get<std::int64_t>();
  } else if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::abs(number) < 1e15 && number == std::floor(number)) {
      return static_cast<std::int64_t>(number);
    }
  }
  return std::nullopt;
}

nlohmann::json parse(std::string_view json) {
  // The parser takes a NUL for the end and would not see what follows it.
  if (const std::size_t nul = json.find('\0'); nul != std::string_view::npos) {
    throw std::invalid_argument("config.json: byte " + std::to_string(nul + 1) + ": NUL");
  }
  try {
    return nlohmann::json::parse(json);
  } catch (const nlohmann::json::parse_error& error) {
    std::string what = error.what();  // "[json.exception.parse_error.101] parse error at ...: ..."
    if (const std::size_t end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    throw std::invalid_argument("config.json: byte " + std::to_string(error.byte) + ": " + what);
  }
}
}  // namespace

ConfigReader::ConfigReader(std::shared_ptr<const Object> object) : object_(std::move(object)) {}

ConfigReader::ConfigReader(std::string_view json)
    : object_(std::make_shared<const Object>(Object{parse(json), ""})) {
  if (!object_->value.is_object()) {
    throw std::invalid_argument("config.json: is of type " +
                                std::string(object_->value.type_name()) + ", want an object");
  }
}

bool ConfigReader::has(const std::string& key) const {
  return object_->value.contains(key);
}
bool ConfigReader::is_null(const std::string& key) const {
  return has(key) && object_->find(key) == nullptr;
}
bool ConfigReader::is_object(const std::string& key) const {
  const auto* value = object_->find(key);
  return value != nullptr && value->is_object();
}
bool ConfigReader::is_text(const std::string& key, std::string_view text) const {
  const auto* value = object_->find(key);
  return value != nullptr && value->is_string() && value->get_ref<const std::string&>() == text;
}
bool ConfigReader::is_list(const std::string& key) const {
  const auto* value = object_->find(key);
  return value != nullptr && value->is_array();
}

bool ConfigReader::is_number(const std::string& key) const {
  const auto* value = object_->find(key);
  return value != nullptr && value->is_number();
}

void ConfigReader::refuse(const std::string& key, const std::string& want) const {
  const auto found = object_->value.find(key);
  std::string got = "missing";
  if (found != object_->value.end()) {
    got = found->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (got.size() > 60) got = got.substr(0, 57) + "...";
  }
  throw std::invalid_argument("config.json: " + object_->path + key + " is " + got + ", want " +
                              want);
}

std::int64_t ConfigReader::integer(const std::string& key, std::int64_t missing) const {
  return object_->find(key) == nullptr ? missing : integer(key);
}

std::int64_t ConfigReader::integer(const std::string& key) const {
  const auto* value = object_->find(key);
  const std::optional<std::int64_t> number = value == nullptr ? std::nullopt : whole(*value);
  if (!number) refuse(key, "a whole number");
  return *number;
}

std::int64_t ConfigReader::per_layer(const std::string& key, std::int64_t missing) const {
  if (!is_list(key)) return integer(key, missing);
  std::optional<std::int64_t> first;
  const auto visit = [&](const nlohmann::json& value, const auto& self) -> void {
    if (value.is_array()) {
      for (const auto& element : value) self(element, self);
      return;
    }
    const std::optional<std::int64_t> number = whole(value);
    if (!number) refuse(key, "a list of whole numbers");
    if (first && *first != *number) refuse(key, "the same in every layer");
    first = number;
  };
  visit(*object_->find(key), visit);
  return first.value_or(missing);
}

double ConfigReader::real(const std::string& key, double missing) const {
  const auto* value = object_->find(key);
  if (value == nullptr) return missing;
  if (!value->is_number() || !std::isfinite(value->get<double>())) refuse(key, "a finite number");
  return value->get<double>();
}

bool ConfigReader::flag(const std::string& key, bool missing) const {
  const auto* value = object_->find(key);
  if (value == nullptr) return missing;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const std::string& key, const std::string& missing) const {
  const auto* value = object_->find(key);
  if (value == nullptr) return missing;
  if (!value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

std::vector<std::int64_t> ConfigReader::integers(const std::string& key) const {
  std::vector<std::int64_t> numbers;
  const auto* value = object_->find(key);
  if (value == nullptr) return numbers;
  if (!value->is_array()) refuse(key, "a list of whole numbers");
  for (const auto& element : *value) {
    const std::optional<std::int64_t> number = whole(element);
    if (!number) refuse(key, "a list of whole numbers");
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<double> ConfigReader::reals(const std::string& key) const {
  std::vector<double> numbers;
  const auto* value = object_->find(key);
  if (value == nullptr) return numbers;
  if (!value->is_array()) refuse(key, "a list of numbers");
  for (const auto& element : *value) {
    if (!element.is_number() || !std::isfinite(element.get<double>())) {
      refuse(key, "a list of numbers");
    }
    numbers.push_back(element.get<double>());
  }
  return numbers;
}

std::vector<std::string> ConfigReader::texts(const std::string& key) const {
  std::vector<std::string> strings;
  const auto* value = object_->find(key);
  if (value == nullptr) return strings;
  if (!value->is_array()) refuse(key, "a list of strings");
  for (const auto& element : *value) {
    if (!element.is_string()) refuse(key, "a list of strings");
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

ConfigReader ConfigReader::object(const std::string& key) const {
  const auto* value = object_->find(key);
  if (value != nullptr && !value->is_object()) refuse(key, "an object");
  return ConfigReader(std::make_shared<const Object>(
      Object{value == nullptr ? nlohmann::json::object() : *value, object_->path + key + "."}));
}
}  // namespace switchyard::runtime
