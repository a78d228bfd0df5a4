// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
constexpr std::string_view kHex = "0123456789ABCDEF";

std::uint8_t byte_at(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}
}  // namespace

Letter letter_at(std::string_view text, std::size_t at) {
  const std::uint8_t first = byte_at(text, at);
  if (first < 0x80) return {.code = first, .bytes = 1};
  if (first < 0xC2 || first > 0xF4) return {};
  const std::size_t more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  // The second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF.
  const std::uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const std::uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  std::int32_t code = first & (more == 1 ? 0x1F : more == 2 ? 0x0F : 0x07);
  for (std::size_t i = 1; i <= more; ++i) {
    if (at + i == text.size()) return {.code = -1, .bytes = i, .cut = true};
    const std::uint8_t next = byte_at(text, at + i);
    if (next < (i == 1 ? low : 0x80) || next > (i == 1 ? high : 0xBF)) {
      return {.code = -1, .bytes = i};
    }
    code = code << 6 | (next & 0x3F);
  }
  return {.code = code, .bytes = more + 1};
}

std::string utf8_of(std::int32_t code) {
  const auto letter = [](std::int32_t bits) { return static_cast<char>(bits); };
  if (code < 0x80) return {letter(code)};
  if (code < 0x800) return {letter(0xC0 | code >> 6), letter(0x80 | (code & 0x3F))};
  if (code < 0x10000) {
    return {letter(0xE0 | code >> 12), letter(0x80 | (code >> 6 & 0x3F)),
            letter(0x80 | (code & 0x3F))};
  }
  return {letter(0xF0 | code >> 18), letter(0x80 | (code >> 12 & 0x3F)),
          letter(0x80 | (code >> 6 & 0x3F)), letter(0x80 | (code & 0x3F))};
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  std::size_t begin = 0;
  for (std::size_t at = text.find(from); at != std::string_view::npos;
       at = text.find(from, begin)) {
    result.append(text.substr(begin, at - begin)).append(to);
    begin = at + from.size();
  }
  return result.append(text.substr(begin));
}

std::string byte_piece(std::uint8_t byte) {
  return {'<', '0', 'x', kHex[byte >> 4U], kHex[byte & 15U], '>'};
}

int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const std::size_t high = kHex.find(piece[3]);
  const std::size_t low = kHex.find(piece[4]);
  if (high == std::string_view::npos || low == std::string_view::npos) return -1;
  return static_cast<int>(high * 16 + low);
}
}  // namespace switchyard::runtime
