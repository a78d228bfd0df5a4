// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What a tokenizer.json does to a text before its model sees it, and to tokens on the way back:
/// normalizers, pre-tokenizers and decoders, each read from its JSON object.
/// For .cpp files only: the parser's header stays out of public ones.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/unicode.hpp"

namespace switchyard::runtime {

/// A part of a text that the model will see by itself.
struct TextPiece {
  std::string text;
  bool first = false;  ///< it begins where the whole text does
};

using Normalizer = std::function<std::string(std::string)>;
using PreTokenizer = std::function<std::vector<TextPiece>(std::vector<TextPiece>)>;

/// Tokens back to bytes.
struct TokenDecoder {
  std::function<std::string(std::string_view)> bytes;
  bool drops_first_space = false;
};

/// @param json   the object
/// @param where  "FILE: normalizer"; begins messages
/// @throws std::invalid_argument  "FILE: normalizer.type: got 'Precompiled', want one of ..."
[[nodiscard]] Normalizer normalizer_of(const nlohmann::json& json, const std::string& where);
[[nodiscard]] PreTokenizer pre_tokenizer_of(const nlohmann::json& json, const std::string& where);
/// Tokens are their own bytes.
[[nodiscard]] TokenDecoder plain_decoder();
[[nodiscard]] TokenDecoder decoder_of(const nlohmann::json& json, const std::string& where);

/// Every byte as the printable letter that byte-level vocabularies write for it (GPT-2's table).
[[nodiscard]] std::string byte_letters(std::string_view bytes);
/// Back; a token with any other letter is taken as it stands.
[[nodiscard]] std::string bytes_of_letters(std::string_view token);
}  // namespace switchyard::runtime
