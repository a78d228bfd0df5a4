// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Looks into a JSON document that somebody else wrote: what is absent or null is unknown, what is
/// of another type is refused with its place.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/page/findings.hpp"

namespace switchyard::runtime::page {

/// A value in a document, and where it stands.
class Reading {
 public:
  Reading(const nlohmann::ordered_json& value, std::string where)
      : value_(&value), where_(std::move(where)) {}

  [[nodiscard]] const nlohmann::ordered_json& json() const { return *value_; }
  [[nodiscard]] std::vector<std::string> keys() const;
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] bool has(const std::string& key) const;

  /// @throws std::invalid_argument  "FILE: points[3].ranks: got \"x\", want a number"
  [[nodiscard]] double number(const std::string& key) const;  ///< kUnknown without
  [[nodiscard]] std::string text(const std::string& key) const;
  [[nodiscard]] bool flag(const std::string& key) const;
  /// The entries of a list; none without.
  [[nodiscard]] std::vector<Reading> list(const std::string& key) const;
  [[nodiscard]] std::vector<double> numbers(const std::string& key) const;
  /// A list of lists of equal length. @throws std::invalid_argument  they are not
  [[nodiscard]] Matrix2 matrix(const std::string& key) const;
  [[nodiscard]] Reading object(const std::string& key) const;  ///< an empty one without

  [[noreturn]] void refuse(const std::string& want) const;

 private:
  explicit Reading(std::string where) : value_(nullptr), where_(std::move(where)) {}
  [[nodiscard]] Reading at(const std::string& key) const;
  [[nodiscard]] std::vector<double> numbers() const;

  const nlohmann::ordered_json* value_;  ///< null: an object that is not there
  std::string where_;
};
}  // namespace switchyard::runtime::page
