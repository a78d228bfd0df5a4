// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/checked_json.hpp"

#include <cerrno>
#include <fstream>
#include <set>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace switchyard::runtime {
namespace {
constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxShown = 160;
}  // namespace

std::string read_text(const std::filesystem::path& file, std::int64_t max_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (error) throw std::system_error(error, file.string());
  if (!std::filesystem::is_regular_file(status)) {
    throw std::invalid_argument(file.string() + ": not a regular file, want one");
  }
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::system_error(errno, std::generic_category(), file.string());
  std::string text;
  std::vector<char> piece(1U << 16U);
  while (stream.read(piece.data(), static_cast<std::streamsize>(piece.size())) ||
         stream.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(stream.gcount()));
    if (static_cast<std::int64_t>(text.size()) > max_bytes) {
      throw std::invalid_argument(file.string() + ": size in bytes, got more than " +
                                  std::to_string(max_bytes) + ", want at most that");
    }
  }
  if (stream.bad()) throw std::system_error(EIO, std::generic_category(), file.string());
  return text;
}

nlohmann::json parse_checked(std::string_view text, const std::string& where) {
  using nlohmann::json;
  // The parser takes a NUL for the end of the text and would not see what follows it.
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    throw std::invalid_argument(where + ": not JSON: NUL at byte " + std::to_string(nul));
  }
  std::vector<std::set<std::string>> keys;  // of the objects and arrays that are open
  const auto check = [&](int, json::parse_event_t event, json& value) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        if (keys.size() == kMaxDepth) {
          throw std::invalid_argument(where + ": depth of the JSON, got more than " +
                                      std::to_string(kMaxDepth) + ", want at most that");
        }
        keys.emplace_back();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key:
        if (!keys.back().insert(value.get<std::string>()).second) {
          throw std::invalid_argument(where + ": key '" + shown(value.get<std::string>()) +
                                      "', got it twice, want it once");
        }
        break;
      case json::parse_event_t::value:
        break;
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::exception& problem) {
    throw std::invalid_argument(where + ": not JSON: " + shown(problem.what()));
  }
}

std::string shown(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string result;
  for (const char c : text) {
    if (result.size() >= kMaxShown) return result + "...";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      result += c;
    } else {
      result += "\\x";
      result += kDigits[byte >> 4U];
      result += kDigits[byte & 15U];
    }
  }
  return result;
}
}  // namespace switchyard::runtime
