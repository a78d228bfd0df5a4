// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <unordered_map>

#include "runtime/text/charsmap.hpp"
#include "runtime/text/merges.hpp"
#include "runtime/text/sentencepiece.pb.h"
#include "runtime/text/tokenizer.hpp"
#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
using Proto = switchyard::sentencepiece::v1::SentencePieceModel;
using Piece = Proto::Piece;

/// What a letter that no piece covers costs more than the worst piece (unigram).
constexpr float kUnknownPenalty = 10.0F;

std::size_t letter_bytes(std::string_view text, std::size_t at) {
  return letter_at(text, at).bytes;
}

class SentencePiece final : public Tokenizer {
 public:
  SentencePiece(std::string_view bytes, std::string where);
  [[nodiscard]] std::vector<std::int64_t> encode(std::string_view text) const override;
  [[nodiscard]] std::string bytes_of(std::int64_t id) const override;
  [[nodiscard]] bool special(std::int64_t id) const override;
  [[nodiscard]] bool drops_first_space() const override {
    const auto& rules = model_.normalizer_spec();
    return rules.add_dummy_prefix() || rules.remove_extra_whitespaces();
  }
  [[nodiscard]] std::optional<std::int64_t> find(std::string_view token) const override;
  [[nodiscard]] std::optional<std::int64_t> bos() const override {
    return control(model_.trainer_spec().bos_piece());
  }
  [[nodiscard]] std::optional<std::int64_t> eos() const override {
    return control(model_.trainer_spec().eos_piece());
  }
  [[nodiscard]] std::string describe() const override {
    const bool bpe = model_.trainer_spec().model_type() == Proto::Trainer::BPE;
    return std::string("SentencePiece, ") + (bpe ? "BPE, " : "unigram, ") +
           std::to_string(model_.pieces_size()) + " ids";
  }

 private:
  void read_pieces();
  [[nodiscard]] std::optional<std::int64_t> control(const std::string& name) const;
  [[nodiscard]] const Piece& piece(std::int64_t id) const {
    return model_.pieces(static_cast<int>(id));
  }
  [[nodiscard]] std::string normalize(std::string_view text) const;
  [[nodiscard]] Charsmap::Found normal_prefix(std::string_view text) const;
  [[nodiscard]] std::size_t defined_by_user(std::string_view text) const;
  [[nodiscard]] std::vector<Symbol> by_merging(std::string_view text) const;
  [[nodiscard]] std::vector<Symbol> by_likelihood(std::string_view text) const;

  std::string where_;
  Proto model_;
  Charsmap charsmap_;
  std::unordered_map<std::string_view, std::int64_t> in_text_;  ///< normal, defined by the user
  std::unordered_map<std::string_view, std::int64_t> others_;
  std::array<std::int64_t, 256> bytes_{};
  std::int64_t unknown_ = -1;
  std::size_t longest_ = 0;                          ///< of a piece in text, in bytes
  std::size_t longest_defined_ = 0;                  ///< of one that the user defined
  float least_ = std::numeric_limits<float>::max();  ///< score of a normal piece
  float most_ = std::numeric_limits<float>::lowest();
};

SentencePiece::SentencePiece(std::string_view bytes, std::string where) : where_(std::move(where)) {
  if (bytes.size() > std::size_t{1} << 30U ||
      !model_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw std::invalid_argument(where_ + ": got bytes that are no SentencePiece model");
  }
  const auto kind = model_.trainer_spec().model_type();
  if (kind != Proto::Trainer::BPE && kind != Proto::Trainer::UNIGRAM) {
    throw std::invalid_argument(where_ + ": trainer_spec.model_type, got " +
                                Proto::Trainer::Kind_Name(kind) + ", want BPE or UNIGRAM");
  }
  charsmap_ = Charsmap(model_.normalizer_spec().precompiled_charsmap(), where_);
  read_pieces();
}

void SentencePiece::read_pieces() {
  bytes_.fill(-1);
  const auto fail = [&](int id, const std::string& what) {
    throw std::invalid_argument(where_ + ": piece " + std::to_string(id) + ": " + what);
  };
  for (int id = 0; id < model_.pieces_size(); ++id) {
    const Piece& one = model_.pieces(id);
    if (one.piece().empty()) fail(id, "got no text, want some");
    const bool text = one.type() == Piece::NORMAL || one.type() == Piece::USER_DEFINED;
    if (!(text ? in_text_ : others_).emplace(one.piece(), id).second) {
      fail(id, "'" + one.piece() + "', got it twice, want it once");
    }
    if (text) longest_ = std::max(longest_, one.piece().size());
    if (one.type() == Piece::USER_DEFINED) {
      longest_defined_ = std::max(longest_defined_, one.piece().size());
    } else if (one.type() == Piece::NORMAL) {
      least_ = std::min(least_, one.score());
      most_ = std::max(most_, one.score());
    } else if (one.type() == Piece::UNKNOWN) {
      if (unknown_ >= 0) fail(id, "got a second unknown piece, want one");
      unknown_ = id;
    } else if (one.type() == Piece::BYTE) {
      const int byte = byte_of_piece(one.piece());
      if (byte < 0) fail(id, "byte, got '" + one.piece() + "', want <0x00> to <0xFF>");
      bytes_[static_cast<std::size_t>(byte)] = id;
    }
  }
  if (unknown_ < 0) throw std::invalid_argument(where_ + ": got no unknown piece, want one");
  if (!model_.trainer_spec().byte_fallback()) return;
  for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
    if (bytes_[byte] >= 0) continue;
    throw std::invalid_argument(where_ + ": got byte_fallback without a piece " +
                                byte_piece(static_cast<std::uint8_t>(byte)) + ", want all 256");
  }
}

std::optional<std::int64_t> SentencePiece::control(const std::string& name) const {
  const auto found = others_.find(name);
  if (found == others_.end() || piece(found->second).type() != Piece::CONTROL) return std::nullopt;
  return found->second;
}

std::optional<std::int64_t> SentencePiece::find(std::string_view token) const {
  for (const auto* pieces : {&in_text_, &others_}) {
    if (const auto found = pieces->find(token); found != pieces->end()) return found->second;
  }
  return std::nullopt;
}

/// Bytes of the longest piece of the user's that `text` begins with; 0: none.
std::size_t SentencePiece::defined_by_user(std::string_view text) const {
  for (std::size_t bytes = std::min(longest_defined_, text.size()); bytes > 0; --bytes) {
    const auto found = in_text_.find(text.substr(0, bytes));
    if (found != in_text_.end() && piece(found->second).type() == Piece::USER_DEFINED) return bytes;
  }
  return 0;
}

/// What the beginning of a text becomes.
Charsmap::Found SentencePiece::normal_prefix(std::string_view text) const {
  if (const std::size_t bytes = defined_by_user(text); bytes > 0) {
    return {.text = text.substr(0, bytes), .bytes = bytes};
  }
  const Charsmap::Found found = charsmap_.longest(text);
  if (found.bytes > 0) return found;
  const Letter letter = letter_at(text, 0);
  if (letter.code < 0) return {.text = kReplacement, .bytes = 1};
  return {.text = text.substr(0, letter.bytes), .bytes = letter.bytes};
}

std::string SentencePiece::normalize(std::string_view text) const {
  const auto& rules = model_.normalizer_spec();
  const bool suffix = model_.trainer_spec().treat_whitespace_as_suffix();
  const std::string_view space = rules.escape_whitespaces() ? kSpaceMark : std::string_view(" ");
  if (rules.remove_extra_whitespaces()) {
    while (!text.empty()) {
      const Charsmap::Found first = normal_prefix(text);
      if (first.text != " ") break;
      text.remove_prefix(first.bytes);
    }
  }
  std::string result;
  if (text.empty()) return result;
  if (!suffix && rules.add_dummy_prefix()) result += space;
  bool after_space = rules.remove_extra_whitespaces();
  while (!text.empty()) {
    const Charsmap::Found next = normal_prefix(text);
    text.remove_prefix(next.bytes);
    std::string_view letters = next.text;
    while (after_space && letters.starts_with(' ')) letters.remove_prefix(1);
    for (const char letter : letters) {
      letter == ' ' ? result.append(space) : result.append(1, letter);
    }
    if (!letters.empty()) after_space = letters.ends_with(' ');
    if (!rules.remove_extra_whitespaces()) after_space = false;
  }
  if (rules.remove_extra_whitespaces()) {
    while (result.ends_with(space)) result.resize(result.size() - space.size());
  }
  if (suffix && rules.add_dummy_prefix()) result += space;
  return result;
}

std::vector<Symbol> SentencePiece::by_merging(std::string_view text) const {
  std::vector<Symbol> symbols;
  std::vector<bool> whole(text.size(), false);  // a piece of the user's begins here
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t defined = defined_by_user(text.substr(at));
    const std::size_t bytes = defined > 0 ? defined : letter_bytes(text, at);
    whole[at] = defined > 0;
    const auto found = in_text_.find(text.substr(at, bytes));
    symbols.push_back(
        {.begin = at, .end = at + bytes, .id = found == in_text_.end() ? -1 : found->second});
    at += bytes;
  }
  merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merged> {
    if (whole[left.begin] || whole[right.begin]) return std::nullopt;
    const auto found = in_text_.find(text.substr(left.begin, right.end - left.begin));
    if (found == in_text_.end()) return std::nullopt;
    return Merged{.rank = -double{piece(found->second).score()}, .id = found->second};
  });
  return symbols;
}

/// The most likely way through the text, piece by piece (Kudo 2018, arXiv:1804.10959).
std::vector<Symbol> SentencePiece::by_likelihood(std::string_view text) const {
  struct Way {
    std::int64_t id = -1;
    float score = 0;
    std::size_t begin = 0;
    bool reached = false;
  };
  std::vector<Way> best(text.size() + 1);  // to every byte
  const float unknown = least_ - kUnknownPenalty;
  const auto offer = [&](std::size_t begin, std::size_t end, std::int64_t id, double score) {
    const double sum = score + double{best[begin].score};
    if (best[end].reached && sum <= double{best[end].score}) return;
    best[end] = {.id = id, .score = static_cast<float>(sum), .begin = begin, .reached = true};
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t letter = letter_bytes(text, at);
    bool covered = false;
    for (std::size_t end = at + letter; end <= text.size() && end - at <= longest_;) {
      const auto found = in_text_.find(text.substr(at, end - at));
      if (found != in_text_.end()) {
        const Piece& one = piece(found->second);
        const bool defined = one.type() == Piece::USER_DEFINED;
        offer(at, end, found->second,
              defined ? double{static_cast<float>(end - at) * most_} - 0.1 : double{one.score()});
        covered = covered || end == at + letter;
      }
      if (end == text.size()) break;
      end += letter_bytes(text, end);
    }
    if (!covered) offer(at, at + letter, -1, double{unknown});
    at += letter;
  }
  std::vector<Symbol> symbols;
  for (std::size_t end = text.size(); end > 0; end = best[end].begin) {
    symbols.push_back({.begin = best[end].begin, .end = end, .id = best[end].id});
  }
  std::ranges::reverse(symbols);
  return symbols;
}

std::vector<std::int64_t> SentencePiece::encode(std::string_view text) const {
  const std::string normal = normalize(text);
  const bool bpe = model_.trainer_spec().model_type() == Proto::Trainer::BPE;
  std::vector<std::int64_t> ids;
  bool unknown_before = false;
  for (const Symbol& symbol : bpe ? by_merging(normal) : by_likelihood(normal)) {
    const bool unknown = symbol.id < 0;
    if (!unknown) {
      ids.push_back(symbol.id);
    } else if (model_.trainer_spec().byte_fallback()) {
      for (std::size_t i = symbol.begin; i < symbol.end; ++i) {
        ids.push_back(bytes_[static_cast<std::uint8_t>(normal[i])]);
      }
    } else if (!unknown_before) {
      ids.push_back(unknown_);  // a run of unknown letters is one
    }
    unknown_before = unknown;
  }
  return ids;
}

std::string SentencePiece::bytes_of(std::int64_t id) const {
  if (id < 0 || id >= model_.pieces_size()) return {};
  const Piece& one = piece(id);
  if (one.type() == Piece::UNKNOWN) return model_.trainer_spec().unk_surface();
  if (one.type() == Piece::BYTE) return {static_cast<char>(byte_of_piece(one.piece()))};
  return replaced(one.piece(), kSpaceMark, " ");
}

bool SentencePiece::special(std::int64_t id) const {
  return id >= 0 && id < model_.pieces_size() && piece(id).type() == Piece::CONTROL;
}
}  // namespace

std::unique_ptr<Tokenizer> sentencepiece_tokenizer(std::string_view bytes,
                                                   const std::string& where) {
  return std::make_unique<SentencePiece>(bytes, where);
}
}  // namespace switchyard::runtime
