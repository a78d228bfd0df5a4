// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Unicode's normal forms, classes of letters and regular expressions. The door to ICU.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// A regular expression over UTF-8, as tokenizers write them: \p{...}, lookahead, inline flags,
/// possessive repetition; ^ and $ at every line. Bytes that are no letter match as U+FFFD does.
class Regex {
 public:
  /// @param where  begins messages: a file and key
  /// @throws std::invalid_argument  "WHERE: regular expression '[a', got U_REGEX_..., want ..."
  Regex(std::string_view pattern, std::string where);
  /// All matches, left to right, none of them empty.
  /// @throws std::invalid_argument  matching takes more steps or memory than any sane one
  [[nodiscard]] std::vector<TextRange> matches(std::string_view text) const;

 private:
  std::string where_;
  std::shared_ptr<const void> compiled_;
};

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// The normal form of a text. Bytes that are no letter stay as they are.
[[nodiscard]] std::string normalized(std::string_view text, NormalForm form);

[[nodiscard]] bool is_numeric(std::int32_t code);  ///< categories Nd, Nl and No
[[nodiscard]] bool is_space(std::int32_t code);    ///< property White_Space
[[nodiscard]] bool is_word(std::int32_t code);     ///< letters, marks, digits, connectors
}  // namespace switchyard::runtime
