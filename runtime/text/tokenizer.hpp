// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Text to token ids and back.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

/// Immutable. Any bytes are a text, UTF-8 or not.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Ids of a whole text, without anything put before or behind it. Special tokens that the text
  /// spells out become themselves where the format says so (tokenizer.json).
  /// @throws std::invalid_argument  a piece of the text has no id
  [[nodiscard]] virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  /// The bytes that an id adds to a text; part of a letter, possibly. Empty for an id that is not
  /// known: models have more ids than their tokenizers.
  [[nodiscard]] virtual std::string bytes_of(std::int64_t id) const = 0;
  /// Whether an id is no part of a text: begin, end, roles of a chat.
  [[nodiscard]] virtual bool special(std::int64_t id) const = 0;
  /// A space that a decoded text begins with is taken away: encode puts one there.
  [[nodiscard]] virtual bool drops_first_space() const = 0;
  /// The id of one token by its exact name: "<s>".
  [[nodiscard]] virtual std::optional<std::int64_t> find(std::string_view token) const = 0;
  /// What it says itself about the id before a text, and the one that ends it.
  [[nodiscard]] virtual std::optional<std::int64_t> bos() const = 0;
  [[nodiscard]] virtual std::optional<std::int64_t> eos() const = 0;
  [[nodiscard]] virtual std::string describe() const = 0;  ///< "tokenizer.json, BPE, 128256 ids"
};

/// Ids 0 to 255 are the bytes of a text; others are none. For models that have no tokenizer.
[[nodiscard]] std::unique_ptr<Tokenizer> bytes_tokenizer();

/// SentencePiece's model file (BPE and unigram), as protobuf bytes; see sentencepiece.proto.
/// Bytes that are no letter become U+FFFD, as there.
/// @param where  begins messages: the file
/// @throws std::invalid_argument  "FILE: piece 7: ..."
[[nodiscard]] std::unique_ptr<Tokenizer> sentencepiece_tokenizer(std::string_view bytes,
                                                                 const std::string& where);

/// Hugging Face's tokenizer.json with a BPE model: byte-level, or like SentencePiece.
/// @throws std::invalid_argument  "FILE: model.merges[3]: got ..., want ..."
[[nodiscard]] std::unique_ptr<Tokenizer> json_tokenizer(std::string_view json,
                                                        const std::string& where);

/// What a folder says about text.
struct TextRules {
  std::unique_ptr<const Tokenizer> tokenizer;
  std::optional<std::int64_t> bos;  ///< to be put before a text
  std::optional<std::int64_t> eos;  ///< that ends one
};

/// Whether the folder has tokenizer.json or tokenizer.model.
[[nodiscard]] bool has_tokenizer(const std::filesystem::path& folder);

/// The tokenizer of a checkpoint folder.
/// @param choice  "auto": tokenizer.json, else tokenizer.model of the folder; "bytes"; or a file,
///                whose name ends in .json or .model
/// What tokenizer_config.json of the folder says about bos and eos goes before what the tokenizer
/// says itself.
/// @throws std::invalid_argument  neither is there: names both and --prompt-ids
[[nodiscard]] TextRules open_tokenizer(const std::filesystem::path& folder,
                                       const std::string& choice);

/// Ids to text as they come: letters appear once they are whole, bytes that make none are U+FFFD.
class TextStream {
 public:
  /// The tokenizer must outlive it. @param specials  show special tokens by their names
  explicit TextStream(const Tokenizer& tokenizer, bool specials = false);
  /// The text that became whole with this id.
  [[nodiscard]] std::string add(std::int64_t id);
  /// What was left incomplete.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool specials_;
  bool at_start_ = true;
  std::string held_;  ///< bytes that may begin a letter
};

/// The text of all ids.
[[nodiscard]] std::string decode(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids,
                                 bool specials = false);
}  // namespace switchyard::runtime
