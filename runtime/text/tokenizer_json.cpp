// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <stdexcept>

#include "runtime/model/checked_json.hpp"
#include "runtime/text/added_tokens.hpp"
#include "runtime/text/bpe.hpp"
#include "runtime/text/json_fields.hpp"
#include "runtime/text/text_steps.hpp"
#include "runtime/text/tokenizer.hpp"

namespace switchyard::runtime {
namespace {
using nlohmann::json;

std::unordered_map<std::string, std::int64_t> read_vocabulary(const json& model,
                                                              const std::string& where) {
  std::unordered_map<std::string, std::int64_t> vocabulary;
  std::unordered_map<std::int64_t, std::string> seen;
  const json& entries = object_field(model, "vocab", where);
  for (const auto& [token, value] : entries.items()) {
    const std::string place = where + ".vocab." + shown(token);
    const std::int64_t id = id_of(value, place);
    if (const auto [other, fresh] = seen.emplace(id, token); !fresh) {
      throw std::invalid_argument(place + ": got the id of '" + shown(other->second) +
                                  "', want one of its own");
    }
    vocabulary.emplace(token, id);
  }
  return vocabulary;
}

void require_none(const json& model, const std::string& key, const std::string& where) {
  const json* const value = field(model, key, where);
  if (value != nullptr && *value != "" && *value != 0.0) refuse(where + "." + key, value, "null");
}

/// "a b", or ["a", "b"].
std::pair<std::string, std::string> pair_of(const json& merge, const std::string& where) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  if (merge.is_string()) {
    const auto text = merge.get<std::string>();
    const std::size_t space = text.find(' ');
    if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  }
  refuse(where, merge, "two tokens");
}

Bpe read_model(const json& model, const std::string& where) {
  const json* const type = field(model, "type", where);
  if (type != nullptr && *type != "BPE") {
    refuse(where + ".type", type, "BPE (or a tokenizer.model beside it, by --tokenizer)");
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    require_none(model, key, where);
  }
  auto vocabulary = read_vocabulary(model, where);
  Bpe::Options options;
  options.fuse_unknown = flag_field(model, "fuse_unk", where, false);
  options.byte_fallback = flag_field(model, "byte_fallback", where, false);
  options.ignore_merges = flag_field(model, "ignore_merges", where, false);
  if (field(model, "unk_token", where) != nullptr) {
    const auto found = vocabulary.find(text_field(model, "unk_token", where));
    if (found == vocabulary.end()) {
      refuse(where + ".unk_token", field(model, "unk_token", where), "a token of the vocabulary");
    }
    options.unknown = found->second;
  }
  Bpe bpe(std::move(vocabulary), options);
  const json& merges = list_field(model, "merges", where);
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string place = where + ".merges[" + std::to_string(i) + "]";
    const auto [left, right] = pair_of(merges[i], place);
    try {
      bpe.add_merge(left, right);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(place + ": " + shown(error.what()));
    }
  }
  return bpe;
}

AddedToken read_added(const json& entry, const std::string& where) {
  AddedToken token;
  token.content = text_field(entry, "content", where);
  token.special = flag_field(entry, "special", where, false);
  token.single_word = flag_field(entry, "single_word", where, false);
  token.lstrip = flag_field(entry, "lstrip", where, false);
  token.rstrip = flag_field(entry, "rstrip", where, false);
  token.normalized = flag_field(entry, "normalized", where, !token.special);
  if (token.content.empty()) refuse(where + ".content", json(""), "at least one letter");
  const json* const id = field(entry, "id", where);
  if (id == nullptr) refuse(where + ".id", id, "a whole number from 0");
  token.id = id_of(*id, where + ".id");
  return token;
}

/// The id that a post-processor puts before a single text, if any.
std::optional<std::int64_t> read_bos(const json& post, const std::string& where) {
  const std::string type = text_field(post, "type", where);
  if (type == "Sequence") {
    const json& steps = list_field(post, "processors", where);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto found = read_bos(steps[i], where + ".processors[" + std::to_string(i) + "]");
      if (found) return found;
    }
    return std::nullopt;
  }
  if (type == "ByteLevel") return std::nullopt;  // moves offsets, which nobody asks for
  if (type != "TemplateProcessing") {
    refuse(where + ".type", json(type), "TemplateProcessing, ByteLevel or Sequence");
  }
  const json& single = list_field(post, "single", where);
  if (single.empty()) return std::nullopt;
  const json* const special = field(single[0], "SpecialToken", where + ".single[0]");
  if (special == nullptr) return std::nullopt;
  const std::string name = text_field(*special, "id", where + ".single[0].SpecialToken");
  const std::string place = where + ".special_tokens." + shown(name);
  const json& tokens = object_field(post, "special_tokens", where);
  const json& ids = list_field(object_field(tokens, name, where + ".special_tokens"), "ids", place);
  if (ids.size() != 1) refuse(place + ".ids", ids, "one id");
  return id_of(ids[0], place + ".ids[0]");
}

class JsonTokenizer final : public Tokenizer {
 public:
  JsonTokenizer(std::string_view text, const std::string& where);
  [[nodiscard]] std::vector<std::int64_t> encode(std::string_view text) const override;
  [[nodiscard]] std::string bytes_of(std::int64_t id) const override;
  [[nodiscard]] bool special(std::int64_t id) const override { return specials_.contains(id); }
  [[nodiscard]] bool drops_first_space() const override { return decoder_.drops_first_space; }
  [[nodiscard]] std::optional<std::int64_t> find(std::string_view token) const override;
  [[nodiscard]] std::optional<std::int64_t> bos() const override { return bos_; }
  [[nodiscard]] std::optional<std::int64_t> eos() const override { return std::nullopt; }
  [[nodiscard]] std::string describe() const override {
    return "tokenizer.json, BPE, " + std::to_string(tokens_.size()) + " ids";
  }

 private:
  void encode_words(std::string text, bool first, std::vector<std::int64_t>& ids) const;

  Bpe bpe_;
  Normalizer normalizer_ = [](std::string text) { return text; };
  PreTokenizer pre_tokenizer_ = [](std::vector<TextPiece> pieces) { return pieces; };
  TokenDecoder decoder_ = plain_decoder();
  AddedTokens raw_;         ///< looked for in the text as it is
  AddedTokens normalized_;  ///< looked for after the normalizer
  std::unordered_map<std::int64_t, std::string> tokens_;
  std::unordered_map<std::string, std::int64_t> added_;
  std::unordered_map<std::int64_t, bool> specials_;
  std::optional<std::int64_t> bos_;
};

JsonTokenizer::JsonTokenizer(std::string_view text, const std::string& where) {
  const json root = parse_checked(text, where);
  const std::string top = where + ": ";
  bpe_ = read_model(object_field(root, "model", where), top + "model");
  for (const auto& [token, id] : bpe_.vocabulary()) tokens_[id] = token;
  if (const json* const step = field(root, "normalizer", where)) {
    normalizer_ = normalizer_of(*step, top + "normalizer");
  }
  if (const json* const step = field(root, "pre_tokenizer", where)) {
    pre_tokenizer_ = pre_tokenizer_of(*step, top + "pre_tokenizer");
  }
  if (const json* const step = field(root, "decoder", where)) {
    decoder_ = decoder_of(*step, top + "decoder");
  }
  if (const json* const step = field(root, "post_processor", where)) {
    bos_ = read_bos(*step, top + "post_processor");
  }
  if (field(root, "added_tokens", where) == nullptr) return;
  const json& added = list_field(root, "added_tokens", where);
  for (std::size_t i = 0; i < added.size(); ++i) {
    AddedToken token = read_added(added[i], top + "added_tokens[" + std::to_string(i) + "]");
    tokens_[token.id] = token.content;
    added_[token.content] = token.id;
    if (token.special) specials_[token.id] = true;
    if (token.special || !token.normalized) {
      raw_.add(token);
    } else {
      token.content = normalizer_(token.content);
      if (!token.content.empty()) normalized_.add(token);
    }
  }
}

void JsonTokenizer::encode_words(std::string text, bool first,
                                 std::vector<std::int64_t>& ids) const {
  for (const TextPiece& word : pre_tokenizer_({{.text = std::move(text), .first = first}})) {
    if (!word.text.empty()) bpe_.encode(word.text, ids);
  }
}

std::vector<std::int64_t> JsonTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  for (const TextPart& part : raw_.find(text)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const std::string normal =
        normalizer_(std::string(text.substr(part.range.begin, part.range.end - part.range.begin)));
    for (const TextPart& inner : normalized_.find(normal)) {
      const bool first = part.range.begin == 0 && inner.range.begin == 0;
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else {
        encode_words(normal.substr(inner.range.begin, inner.range.end - inner.range.begin), first,
                     ids);
      }
    }
  }
  return ids;
}

std::string JsonTokenizer::bytes_of(std::int64_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? std::string() : decoder_.bytes(found->second);
}

std::optional<std::int64_t> JsonTokenizer::find(std::string_view token) const {
  const auto found = added_.find(std::string(token));
  return found == added_.end() ? bpe_.find(token) : std::optional(found->second);
}
}  // namespace

std::unique_ptr<Tokenizer> json_tokenizer(std::string_view json, const std::string& where) {
  return std::make_unique<JsonTokenizer>(json, where);
}
}  // namespace switchyard::runtime
