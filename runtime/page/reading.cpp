// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/reading.hpp"

#include <stdexcept>

namespace switchyard::runtime::page {
namespace {
/// Beginning of a value, for a message of one line.
std::string shown(const nlohmann::ordered_json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  return value.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace).substr(0, 40);
}
}  // namespace

void Reading::refuse(const std::string& want) const {
  throw std::invalid_argument(where_ + ": got " + shown(*value_) + ", want " + want);
}

std::vector<std::string> Reading::keys() const {
  std::vector<std::string> keys;
  if (value_ == nullptr) return keys;
  for (const auto& [key, value] : value_->items()) keys.push_back(key);
  return keys;
}

bool Reading::has(const std::string& key) const {
  if (value_ == nullptr) return false;
  if (!value_->is_object()) refuse("an object");
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

Reading Reading::at(const std::string& key) const {
  // "FILE: a.b" below the document, "FILE: a" at its top.
  const bool top = where_.ends_with(":");
  return {(*value_)[key], where_ + (top ? " " : ".") + key};
}

double Reading::number(const std::string& key) const {
  if (!has(key)) return kUnknown;
  const Reading value = at(key);
  if (!value.json().is_number()) value.refuse("a number");
  return value.json().get<double>();
}

std::string Reading::text(const std::string& key) const {
  if (!has(key)) return "";
  const Reading value = at(key);
  if (value.json().is_string()) return value.json().get<std::string>();
  if (value.json().is_number()) return value.json().dump();
  value.refuse("a text");
}

bool Reading::flag(const std::string& key) const {
  if (!has(key)) return false;
  const Reading value = at(key);
  if (!value.json().is_boolean()) value.refuse("true or false");
  return value.json().get<bool>();
}

std::vector<Reading> Reading::list(const std::string& key) const {
  std::vector<Reading> entries;
  if (!has(key)) return entries;
  const Reading value = at(key);
  if (!value.json().is_array()) value.refuse("a list");
  for (std::size_t i = 0; i < value.json().size(); ++i) {
    entries.emplace_back(value.json()[i], value.where() + "[" + std::to_string(i) + "]");
  }
  return entries;
}

std::vector<double> Reading::numbers() const {
  if (!value_->is_array()) refuse("a list of numbers");
  std::vector<double> values;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    const auto& entry = (*value_)[i];
    if (entry.is_null()) {
      values.push_back(kUnknown);
      continue;
    }
    if (!entry.is_number())
      Reading(entry, where_ + "[" + std::to_string(i) + "]").refuse("a number");
    values.push_back(entry.get<double>());
  }
  return values;
}

std::vector<double> Reading::numbers(const std::string& key) const {
  return has(key) ? at(key).numbers() : std::vector<double>();
}

Matrix2 Reading::matrix(const std::string& key) const {
  Matrix2 matrix;
  for (const Reading& row : list(key)) {
    const std::vector<double> values = row.numbers();
    if (matrix.rows == 0) matrix.columns = std::ssize(values);
    if (std::ssize(values) != matrix.columns) {
      throw std::invalid_argument(row.where() + ": got " + std::to_string(values.size()) +
                                  " numbers, want " + std::to_string(matrix.columns) +
                                  ", as in the row before");
    }
    matrix.values.insert(matrix.values.end(), values.begin(), values.end());
    ++matrix.rows;
  }
  return matrix;
}

Reading Reading::object(const std::string& key) const {
  if (!has(key)) return Reading(where_);
  const Reading value = at(key);
  if (!value.json().is_object()) value.refuse("an object");
  return value;
}
}  // namespace switchyard::runtime::page
