// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/unicode.hpp"

#include <limits>
#include <stdexcept>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uregex.h>
#include <unicode/ustring.h>
#include <unicode/utext.h>

#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
/// What a match may cost: ICU counts in steps of about 10000 states; a sane one takes none or few.
constexpr std::int32_t kTimeLimit = 1000;
constexpr std::int32_t kStackBytes = 64 << 20;

std::int32_t length_of(std::size_t length) {
  if (length > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::invalid_argument("text: got " + std::to_string(length) +
                                " bytes in one piece, want at most 2147483647");
  }
  return static_cast<std::int32_t>(length);
}

/// Valid UTF-8 as UTF-16.
std::u16string utf16_of(std::string_view text) {
  std::u16string result(text.size(), u'\0');
  std::int32_t length = 0;
  UErrorCode error = U_ZERO_ERROR;
  u_strFromUTF8(result.data(), length_of(result.size()), &length, text.data(),
                length_of(text.size()), &error);
  if (U_FAILURE(error) != 0) throw std::logic_error(std::string("utf16_of: ") + u_errorName(error));
  result.resize(static_cast<std::size_t>(length));
  return result;
}

std::string utf8_of(std::u16string_view text) {
  std::string result(3 * text.size(), '\0');
  std::int32_t length = 0;
  UErrorCode error = U_ZERO_ERROR;
  u_strToUTF8(result.data(), length_of(result.size()), &length, text.data(), length_of(text.size()),
              &error);
  if (U_FAILURE(error) != 0) throw std::logic_error(std::string("utf8_of: ") + u_errorName(error));
  result.resize(static_cast<std::size_t>(length));
  return result;
}

const UNormalizer2* normalizer(NormalForm form) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* found = nullptr;
  switch (form) {
    case NormalForm::kNfc:
      found = unorm2_getNFCInstance(&error);
      break;
    case NormalForm::kNfd:
      found = unorm2_getNFDInstance(&error);
      break;
    case NormalForm::kNfkc:
      found = unorm2_getNFKCInstance(&error);
      break;
    case NormalForm::kNfkd:
      found = unorm2_getNFKDInstance(&error);
      break;
  }
  if (U_FAILURE(error) != 0) {
    throw std::runtime_error(std::string("ICU has no normal forms: ") + u_errorName(error));
  }
  return found;
}

std::string normalized_letters(std::string_view text, const UNormalizer2* form) {
  const std::u16string from = utf16_of(text);
  UErrorCode error = U_ZERO_ERROR;
  const std::int32_t length =
      unorm2_normalize(form, from.data(), length_of(from.size()), nullptr, 0, &error);
  if (error != U_BUFFER_OVERFLOW_ERROR && U_FAILURE(error) != 0) {
    throw std::logic_error(std::string("normalized: ") + u_errorName(error));
  }
  std::u16string to(static_cast<std::size_t>(length), u'\0');
  error = U_ZERO_ERROR;
  unorm2_normalize(form, from.data(), length_of(from.size()), to.data(), length, &error);
  if (U_FAILURE(error) != 0) {
    throw std::logic_error(std::string("normalized: ") + u_errorName(error));
  }
  return utf8_of(to);
}

struct CloseRegex {
  void operator()(URegularExpression* regex) const { uregex_close(regex); }
};
struct CloseText {
  void operator()(UText* text) const { utext_close(text); }
};
}  // namespace

Regex::Regex(std::string_view pattern, std::string where) : where_(std::move(where)) {
  const auto fail = [&](const std::string& why) {
    throw std::invalid_argument(where_ + ": regular expression, got '" +
                                std::string(pattern.substr(0, 80)) + "' (" + why +
                                "), want one that ICU can read");
  };
  for (std::size_t at = 0; at < pattern.size();) {
    const Letter letter = letter_at(pattern, at);
    if (letter.code < 0) fail("not UTF-8 at byte " + std::to_string(at));
    at += letter.bytes;
  }
  const std::u16string wide = utf16_of(pattern);
  UErrorCode error = U_ZERO_ERROR;
  UParseError place{};
  URegularExpression* const compiled = uregex_open(
      wide.data(), length_of(wide.size()), UREGEX_MULTILINE | UREGEX_UNIX_LINES, &place, &error);
  if (U_FAILURE(error) != 0) {
    fail(std::string(u_errorName(error)) + " at letter " + std::to_string(place.offset));
  }
  compiled_ = std::shared_ptr<URegularExpression>(compiled, CloseRegex{});
}

std::vector<TextRange> Regex::matches(std::string_view text) const {
  UErrorCode error = U_ZERO_ERROR;
  const auto* const compiled = static_cast<const URegularExpression*>(compiled_.get());
  // A compiled expression remembers where it matched, so each call works with its own.
  const std::unique_ptr<URegularExpression, CloseRegex> regex(uregex_clone(compiled, &error));
  uregex_setTimeLimit(regex.get(), kTimeLimit, &error);
  uregex_setStackLimit(regex.get(), kStackBytes, &error);
  const std::unique_ptr<UText, CloseText> bytes(
      utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &error));
  uregex_setUText(regex.get(), bytes.get(), &error);
  std::vector<TextRange> found;
  while (U_SUCCESS(error) != 0 && uregex_findNext(regex.get(), &error) != 0) {
    const auto begin = static_cast<std::size_t>(uregex_start64(regex.get(), 0, &error));
    const auto end = static_cast<std::size_t>(uregex_end64(regex.get(), 0, &error));
    if (begin < end) found.push_back({.begin = begin, .end = end});
  }
  if (U_FAILURE(error) != 0) {
    throw std::invalid_argument(where_ + ": regular expression, got " + u_errorName(error) +
                                " on a text of " + std::to_string(text.size()) +
                                " bytes, want one that matches it");
  }
  return found;
}

std::string normalized(std::string_view text, NormalForm form) {
  const UNormalizer2* const rules = normalizer(form);
  std::string result;
  std::size_t begin = 0;  // of the letters that were seen and not normalized yet
  for (std::size_t at = 0; at < text.size();) {
    const Letter letter = letter_at(text, at);
    if (letter.code < 0) {
      if (begin < at) result += normalized_letters(text.substr(begin, at - begin), rules);
      result += text.substr(at, letter.bytes);
      begin = at + letter.bytes;
    }
    at += letter.bytes;
  }
  if (begin < text.size()) result += normalized_letters(text.substr(begin), rules);
  return result;
}

bool is_numeric(std::int32_t code) {
  return code >= 0 && (U_GET_GC_MASK(code) & U_GC_N_MASK) != 0;
}

bool is_space(std::int32_t code) {
  return code >= 0 && u_isUWhiteSpace(code) != 0;
}

bool is_word(std::int32_t code) {
  return code >= 0 && (U_GET_GC_MASK(code) & (U_GC_L_MASK | U_GC_M_MASK | U_GC_ND_MASK |
                                              U_GC_NL_MASK | U_GC_PC_MASK)) != 0;
}
}  // namespace switchyard::runtime
