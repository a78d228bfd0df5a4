// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Typed access to the keys of a released config.json, with errors that name the key.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// One JSON object. A key that is missing gives the default; null gives it too unless said
/// otherwise. All throw std::invalid_argument "config.json: top_k is "two", want a whole number"
/// for other types.
class ConfigReader {
 public:
  /// @throws std::invalid_argument  "config.json: byte 17: ..." for what is no JSON object
  explicit ConfigReader(std::string_view json);

  /// Also true for null.
  [[nodiscard]] bool has(const std::string& key) const;
  [[nodiscard]] bool is_null(const std::string& key) const;
  [[nodiscard]] bool is_object(const std::string& key) const;
  [[nodiscard]] bool is_text(const std::string& key, std::string_view value) const;
  [[nodiscard]] bool is_list(const std::string& key) const;
  [[nodiscard]] bool is_number(const std::string& key) const;

  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t missing) const;
  /// A key that this family cannot do without.
  [[nodiscard]] std::int64_t integer(const std::string& key) const;
  /// A number, or a list with one a layer (or a list of them) that are all equal.
  [[nodiscard]] std::int64_t per_layer(const std::string& key, std::int64_t missing) const;
  [[nodiscard]] double real(const std::string& key, double missing) const;
  [[nodiscard]] bool flag(const std::string& key, bool missing) const;
  [[nodiscard]] std::string text(const std::string& key, const std::string& missing) const;
  /// Empty when missing.
  [[nodiscard]] std::vector<std::int64_t> integers(const std::string& key) const;
  [[nodiscard]] std::vector<double> reals(const std::string& key) const;
  [[nodiscard]] std::vector<std::string> texts(const std::string& key) const;
  /// The object under a key; one without keys when missing.
  [[nodiscard]] ConfigReader object(const std::string& key) const;

  /// Throws "config.json: KEY is GOT, want WANT".
  [[noreturn]] void refuse(const std::string& key, const std::string& want) const;

 private:
  struct Object;
  explicit ConfigReader(std::shared_ptr<const Object> object);
  std::shared_ptr<const Object> object_;
};
}  // namespace switchyard::runtime
