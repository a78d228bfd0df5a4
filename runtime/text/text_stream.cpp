// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/tokenizer.hpp"
#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {

TextStream::TextStream(const Tokenizer& tokenizer, bool specials)
    : tokenizer_(tokenizer), specials_(specials) {}

std::string TextStream::add(std::int64_t id) {
  if (!specials_ && tokenizer_.special(id)) return {};
  std::string bytes = tokenizer_.bytes_of(id);
  if (at_start_ && !bytes.empty()) {
    at_start_ = false;
    if (tokenizer_.drops_first_space() && bytes.front() == ' ') bytes.erase(0, 1);
  }
  held_ += bytes;
  std::string text;
  std::size_t at = 0;
  while (at < held_.size()) {
    const Letter letter = letter_at(held_, at);
    if (letter.cut) break;
    text += letter.code < 0 ? kReplacement : std::string_view(held_).substr(at, letter.bytes);
    at += letter.bytes;
  }
  held_.erase(0, at);
  return text;
}

std::string TextStream::finish() {
  const bool some = !held_.empty();
  held_.clear();
  return some ? std::string(kReplacement) : std::string();
}

std::string decode(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids,
                   bool specials) {
  TextStream stream(tokenizer, specials);
  std::string text;
  for (const std::int64_t id : ids) text += stream.add(id);
  return text + stream.finish();
}
}  // namespace switchyard::runtime
