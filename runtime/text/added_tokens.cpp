// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/added_tokens.hpp"

#include <algorithm>

#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
/// The letter before byte `at` > 0.
Letter letter_before(std::string_view text, std::size_t at) {
  for (std::size_t bytes = 4; bytes > 0; --bytes) {
    if (bytes > at) continue;
    const Letter letter = letter_at(text, at - bytes);
    if (letter.code >= 0 && letter.bytes == bytes) return letter;
  }
  return {};
}

bool inside_word(std::string_view text, const TextRange& range) {
  return (range.begin > 0 && is_word(letter_before(text, range.begin).code)) ||
         (range.end < text.size() && is_word(letter_at(text, range.end).code));
}
}  // namespace

void AddedTokens::add(const AddedToken& token) {
  tokens_[token.content] = token;
  auto& lengths = lengths_[static_cast<std::uint8_t>(token.content.front())];
  if (std::ranges::find(lengths, token.content.size()) != lengths.end()) return;
  lengths.push_back(token.content.size());
  std::ranges::sort(lengths, std::ranges::greater{});
}

const AddedToken* AddedTokens::longest_at(std::string_view text, std::size_t at) const {
  for (const std::size_t length : lengths_[static_cast<std::uint8_t>(text[at])]) {
    const auto found = tokens_.find(std::string(text.substr(at, length)));
    if (found != tokens_.end()) return &found->second;
  }
  return nullptr;
}

std::vector<TextPart> AddedTokens::find(std::string_view text) const {
  std::vector<TextPart> parts;
  std::size_t done = 0;
  const auto plain_until = [&](std::size_t end) {
    if (done < end) parts.push_back({.range = {.begin = done, .end = end}});
  };
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* const token = longest_at(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    TextRange range{.begin = at, .end = at + token->content.size()};
    at = range.end;
    if (token->single_word && inside_word(text, range)) continue;
    while (token->lstrip && range.begin > done) {
      const Letter letter = letter_before(text, range.begin);
      if (!is_space(letter.code)) break;
      range.begin -= letter.bytes;
    }
    while (token->rstrip && range.end < text.size()) {
      const Letter letter = letter_at(text, range.end);
      if (!is_space(letter.code)) break;
      range.end += letter.bytes;
    }
    plain_until(range.begin);
    parts.push_back({.range = range, .id = token->id});
    done = range.end;
    at = range.end;
  }
  plain_until(text.size());
  return parts;
}
}  // namespace switchyard::runtime
