// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Tokens that stand in a text as they are spelt, and are found before it is cut into words:
/// `added_tokens` of a tokenizer.json.
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/text/unicode.hpp"

namespace switchyard::runtime {

struct AddedToken {
  std::string content;
  std::int64_t id = 0;
  bool special = false;      ///< no part of the text when it is decoded
  bool normalized = false;   ///< looked for after the normalizer
  bool single_word = false;  ///< not inside a word
  bool lstrip = false;       ///< takes white space before it
  bool rstrip = false;       ///< and after it
};

/// A part of a text: a token (id >= 0), or what is to be cut into words.
struct TextPart {
  TextRange range;
  std::int64_t id = -1;
};

/// Finds tokens: from left to right, the longest where several begin.
class AddedTokens {
 public:
  void add(const AddedToken& token);
  /// The whole text in parts, none of them empty.
  [[nodiscard]] std::vector<TextPart> find(std::string_view text) const;

 private:
  [[nodiscard]] const AddedToken* longest_at(std::string_view text, std::size_t at) const;
  std::unordered_map<std::string, AddedToken> tokens_;
  std::array<std::vector<std::size_t>, 256> lengths_;  ///< by first byte, longest first
};
}  // namespace switchyard::runtime
