// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// UTF-8 letter by letter, for text that may hold anything.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard::runtime {

/// What stands at one place of a text.
struct Letter {
  std::int32_t code = -1;  ///< code point; -1: the bytes are no letter
  std::size_t bytes = 1;   ///< of the letter, or of what to pass over; at least 1
  bool cut = false;        ///< no letter, but the text's last bytes may begin one
};

/// The letter that begins at `at` < text.size(). Bytes that are none are passed over as the
/// Unicode standard advises (chapter 3, "maximal subpart"): the longest beginning of a letter, or
/// one byte.
[[nodiscard]] Letter letter_at(std::string_view text, std::size_t at);

/// A code point as UTF-8.
[[nodiscard]] std::string utf8_of(std::int32_t code);

/// What stands for bytes that are no letter: U+FFFD.
inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
/// What stands for a space in SentencePiece's vocabularies: U+2581.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

/// `text` with every `from` (not empty) become `to`.
[[nodiscard]] std::string replaced(std::string_view text, std::string_view from,
                                   std::string_view to);

/// "<0x0A>" for 10: how vocabularies with byte fallback write a byte.
[[nodiscard]] std::string byte_piece(std::uint8_t byte);
/// The byte that a piece stands for; -1: none.
[[nodiscard]] int byte_of_piece(std::string_view piece);
}  // namespace switchyard::runtime
