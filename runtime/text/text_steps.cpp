// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/text_steps.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "runtime/text/json_fields.hpp"
#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
using nlohmann::json;

/// GPT-2's cut into words.
constexpr char kGpt2Words[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// GPT-2's table: printable bytes of Latin-1 are themselves, the others follow from U+0100 on.
constexpr std::array<std::int32_t, 256> letters_of_bytes() {
  std::array<std::int32_t, 256> codes{};
  std::int32_t next = 0x100;
  for (std::int32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
    codes[static_cast<std::size_t>(byte)] = printable ? byte : next++;
  }
  return codes;
}
constexpr std::array<std::int32_t, 256> kLetters = letters_of_bytes();

/// A part of a text, and whether a pattern matched it.
struct Span {
  TextRange range;
  bool match = false;
};

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_of(const json& object, const std::string& where) {
  const std::string name = text_field(object, "behavior", where);
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  refuse(where + ".behavior", json(name),
         "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

/// Finds what a pattern matches: {"Regex": "..."} or {"String": "..."}.
using Finder = std::function<std::vector<TextRange>(std::string_view)>;

Finder find_text(std::string word) {
  return [word = std::move(word)](std::string_view text) {
    std::vector<TextRange> found;
    for (std::size_t at = text.find(word); at != std::string_view::npos;
         at = text.find(word, at + word.size())) {
      found.push_back({.begin = at, .end = at + word.size()});
    }
    return found;
  };
}

Finder find_regex(std::string_view pattern, const std::string& where) {
  return [regex = Regex(pattern, where)](std::string_view text) { return regex.matches(text); };
}

Finder finder_of(const json& pattern, const std::string& where) {
  if (field(pattern, "Regex", where) != nullptr) {
    return find_regex(text_field(pattern, "Regex", where), where + ".Regex");
  }
  std::string word = text_field(pattern, "String", where);
  if (word.empty()) refuse(where + ".String", json(word), "at least one letter");
  return find_text(std::move(word));
}

/// The whole text in matches and what is between them.
std::vector<Span> spans(std::string_view text, const std::vector<TextRange>& matches, bool invert) {
  std::vector<Span> result;
  std::size_t end = 0;
  for (const TextRange& match : matches) {
    if (end < match.begin) {
      result.push_back({.range = {.begin = end, .end = match.begin}, .match = invert});
    }
    result.push_back({.range = match, .match = !invert});
    end = match.end;
  }
  if (end < text.size()) {
    result.push_back({.range = {.begin = end, .end = text.size()}, .match = invert});
  }
  return result;
}

std::vector<TextRange> cut(const std::vector<Span>& all, Behavior behavior) {
  std::vector<TextRange> result;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Span& span = all[i];
    if (behavior == Behavior::kRemoved && span.match) continue;
    const bool after_one =
        i > 0 && ((behavior == Behavior::kContiguous && all[i - 1].match == span.match) ||
                  (behavior == Behavior::kMergedWithPrevious && span.match && !all[i - 1].match) ||
                  (behavior == Behavior::kMergedWithNext && !span.match && all[i - 1].match));
    if (after_one) {
      result.back().end = span.range.end;
    } else {
      result.push_back(span.range);
    }
  }
  return result;
}

/// A pre-tokenizer that cuts every piece by itself.
PreTokenizer cutter(Finder finder, Behavior behavior, bool invert) {
  return [finder = std::move(finder), behavior, invert](std::vector<TextPiece> pieces) {
    std::vector<TextPiece> result;
    for (const TextPiece& piece : pieces) {
      for (const TextRange& part : cut(spans(piece.text, finder(piece.text), invert), behavior)) {
        result.push_back({.text = piece.text.substr(part.begin, part.end - part.begin),
                          .first = piece.first && part.begin == 0});
      }
    }
    return result;
  };
}

/// A pre-tokenizer that changes every piece by itself.
PreTokenizer changer(std::function<std::string(const TextPiece&)> change) {
  return [change = std::move(change)](std::vector<TextPiece> pieces) {
    for (TextPiece& piece : pieces) piece.text = change(piece);
    return pieces;
  };
}

PreTokenizer chain(std::vector<PreTokenizer> steps) {
  return [steps = std::move(steps)](std::vector<TextPiece> pieces) {
    for (const PreTokenizer& step : steps) pieces = step(std::move(pieces));
    return pieces;
  };
}

PreTokenizer byte_level(const json& object, const std::string& where) {
  std::vector<PreTokenizer> steps;
  if (flag_field(object, "add_prefix_space", where, true)) {
    steps.push_back(changer([](const TextPiece& piece) {
      return piece.text.starts_with(' ') ? piece.text : " " + piece.text;
    }));
  }
  if (flag_field(object, "use_regex", where, true)) {
    steps.push_back(cutter(find_regex(kGpt2Words, where), Behavior::kIsolated, false));
  }
  steps.push_back(changer([](const TextPiece& piece) { return byte_letters(piece.text); }));
  return chain(std::move(steps));
}

PreTokenizer digits(bool each) {
  Finder numbers = [](std::string_view text) {
    std::vector<TextRange> found;
    for (std::size_t at = 0; at < text.size();) {
      const Letter letter = letter_at(text, at);
      if (is_numeric(letter.code)) found.push_back({.begin = at, .end = at + letter.bytes});
      at += letter.bytes;
    }
    return found;
  };
  return cutter(std::move(numbers), each ? Behavior::kIsolated : Behavior::kContiguous, false);
}

/// "always", "first" or "never", as its newer or older key says.
std::string prepend_scheme(const json& object, const std::string& where) {
  if (field(object, "prepend_scheme", where) == nullptr) {
    return flag_field(object, "add_prefix_space", where, true) ? "always" : "never";
  }
  std::string scheme = text_field(object, "prepend_scheme", where);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    refuse(where + ".prepend_scheme", json(scheme), "always, first or never");
  }
  return scheme;
}

std::string space_mark(const json& object, const std::string& where) {
  std::string mark = text_field(object, "replacement", where);
  if (mark.empty()) refuse(where + ".replacement", json(mark), "one letter");
  return mark;
}

PreTokenizer metaspace(const json& object, const std::string& where) {
  const std::string mark = space_mark(object, where);
  const std::string scheme = prepend_scheme(object, where);
  std::vector<PreTokenizer> steps;
  steps.push_back(changer([mark, scheme](const TextPiece& piece) {
    const std::string text = replaced(piece.text, " ", mark);
    const bool prepend = scheme == "always" || (scheme == "first" && piece.first);
    return prepend && !text.starts_with(mark) ? mark + text : text;
  }));
  if (flag_field(object, "split", where, true)) {
    steps.push_back(cutter(find_text(mark), Behavior::kMergedWithNext, false));
  }
  return chain(std::move(steps));
}

std::string place(const std::string& where, const std::string& key, std::size_t i) {
  return where + "." + key + "[" + std::to_string(i) + "]";
}
}  // namespace

Normalizer normalizer_of(const json& object, const std::string& where) {
  const std::string type = text_field(object, "type", where);
  const auto form = [](NormalForm wanted) {
    return [wanted](const std::string& text) { return normalized(text, wanted); };
  };
  if (type == "NFC") return form(NormalForm::kNfc);
  if (type == "NFD") return form(NormalForm::kNfd);
  if (type == "NFKC") return form(NormalForm::kNfkc);
  if (type == "NFKD") return form(NormalForm::kNfkd);
  if (type == "Prepend") {
    return [front = text_field(object, "prepend", where)](std::string text) {
      return text.empty() ? text : front + text;
    };
  }
  if (type == "Replace") {
    return [finder = finder_of(object_field(object, "pattern", where), where + ".pattern"),
            content = text_field(object, "content", where)](const std::string& text) {
      std::string result;
      std::size_t end = 0;
      for (const TextRange& match : finder(text)) {
        result.append(text, end, match.begin - end).append(content);
        end = match.end;
      }
      return result.append(text, end);
    };
  }
  if (type == "Sequence") {
    std::vector<Normalizer> steps;
    const json& list = list_field(object, "normalizers", where);
    for (std::size_t i = 0; i < list.size(); ++i) {
      steps.push_back(normalizer_of(list[i], place(where, "normalizers", i)));
    }
    return [steps = std::move(steps)](std::string text) {
      for (const Normalizer& step : steps) text = step(std::move(text));
      return text;
    };
  }
  refuse(where + ".type", json(type), "NFC, NFD, NFKC, NFKD, Prepend, Replace or Sequence");
}

PreTokenizer pre_tokenizer_of(const json& object, const std::string& where) {
  const std::string type = text_field(object, "type", where);
  if (type == "ByteLevel") return byte_level(object, where);
  if (type == "Metaspace") return metaspace(object, where);
  if (type == "Digits") return digits(flag_field(object, "individual_digits", where, false));
  if (type == "Split") {
    return cutter(finder_of(object_field(object, "pattern", where), where + ".pattern"),
                  behavior_of(object, where), flag_field(object, "invert", where, false));
  }
  if (type == "Sequence") {
    std::vector<PreTokenizer> steps;
    const json& list = list_field(object, "pretokenizers", where);
    for (std::size_t i = 0; i < list.size(); ++i) {
      steps.push_back(pre_tokenizer_of(list[i], place(where, "pretokenizers", i)));
    }
    return chain(std::move(steps));
  }
  refuse(where + ".type", json(type), "ByteLevel, Split, Digits, Metaspace or Sequence");
}

TokenDecoder plain_decoder() {
  return {.bytes = [](std::string_view token) { return std::string(token); }};
}

TokenDecoder decoder_of(const json& object, const std::string& where) {
  const std::string type = text_field(object, "type", where);
  if (type == "ByteLevel") return {.bytes = bytes_of_letters};
  if (type == "Fuse") return plain_decoder();
  if (type == "ByteFallback") {
    return {.bytes = [](std::string_view token) {
      const int byte = byte_of_piece(token);
      return byte < 0 ? std::string(token) : std::string(1, static_cast<char>(byte));
    }};
  }
  if (type == "Metaspace") {
    return {.bytes = [mark = space_mark(object, where)](
                         std::string_view token) { return replaced(token, mark, " "); },
            .drops_first_space = prepend_scheme(object, where) != "never"};
  }
  if (type == "Replace") {
    return {.bytes = [step = normalizer_of(object, where)](std::string_view token) {
      return step(std::string(token));
    }};
  }
  if (type == "Strip") {
    const json first_space{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
    if (object != first_space) refuse(where, object, first_space.dump());
    TokenDecoder strip = plain_decoder();
    strip.drops_first_space = true;
    return strip;
  }
  if (type == "Sequence") {
    TokenDecoder all = plain_decoder();
    const json& list = list_field(object, "decoders", where);
    for (std::size_t i = 0; i < list.size(); ++i) {
      TokenDecoder step = decoder_of(list[i], place(where, "decoders", i));
      all.drops_first_space = all.drops_first_space || step.drops_first_space;
      all.bytes = [before = std::move(all.bytes), then = std::move(step.bytes)](
                      std::string_view token) { return then(before(token)); };
    }
    return all;
  }
  refuse(where + ".type", json(type),
         "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip or Sequence");
}

std::string byte_letters(std::string_view bytes) {
  std::string result;
  for (const char byte : bytes) result += utf8_of(kLetters[static_cast<std::uint8_t>(byte)]);
  return result;
}

std::string bytes_of_letters(std::string_view token) {
  std::string result;
  for (std::size_t at = 0; at < token.size();) {
    const Letter letter = letter_at(token, at);
    const auto* const found = std::ranges::find(kLetters, letter.code);
    if (found == kLetters.end()) return std::string(token);
    result += static_cast<char>(found - kLetters.begin());
    at += letter.bytes;
  }
  return result;
}
}  // namespace switchyard::runtime
