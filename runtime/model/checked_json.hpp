// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// JSON from files that nobody vouches for: capped in size and depth, and no key twice.
/// For .cpp files only: the parser's header stays out of public ones.
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace switchyard::runtime {

/// The whole of a small text file.
/// @throws std::system_error      it cannot be opened or read; names the file
/// @throws std::invalid_argument  "FILE: size in bytes, got 9, want at most 8"
[[nodiscard]] std::string read_text(const std::filesystem::path& file, std::int64_t max_bytes);

/// Parses one JSON value.
/// @param where  begins every message: a file's name
/// @throws std::invalid_argument  not JSON, nested deeper than 32, or an object with a key twice
[[nodiscard]] nlohmann::json parse_checked(std::string_view text, const std::string& where);

/// A string from a file, fit for a message: control characters escaped, long ones cut.
[[nodiscard]] std::string shown(std::string_view text);
}  // namespace switchyard::runtime
