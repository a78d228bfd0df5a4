// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/bpe.hpp"

#include <algorithm>
#include <stdexcept>

#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
std::uint64_t key_of(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32U | static_cast<std::uint64_t>(right);
}
}  // namespace

Bpe::Bpe(std::unordered_map<std::string, std::int64_t> vocabulary, const Options& options)
    : vocabulary_(std::move(vocabulary)), options_(options) {
  for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
    bytes_[byte] = find(byte_piece(static_cast<std::uint8_t>(byte))).value_or(-1);
  }
}

std::optional<std::int64_t> Bpe::find(std::string_view token) const {
  const auto found = vocabulary_.find(std::string(token));
  if (found == vocabulary_.end()) return std::nullopt;
  return found->second;
}

void Bpe::add_merge(std::string_view left, std::string_view right) {
  const auto id_of = [&](const std::string& token) {
    const auto found = find(token);
    if (!found) throw std::invalid_argument("'" + token + "', got no id, want one");
    return *found;
  };
  const std::uint64_t key = key_of(id_of(std::string(left)), id_of(std::string(right)));
  const Merged merged{.rank = static_cast<double>(merges_.size()),
                      .id = id_of(std::string(left).append(right))};
  merges_.emplace(key, merged);  // one that stands twice keeps its better rank
}

/// One symbol a letter; what has no id becomes bytes, or the unknown token, or nothing.
std::vector<Symbol> Bpe::letters(std::string_view word) const {
  std::vector<Symbol> symbols;
  bool unknown_before = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t end = at + letter_at(word, at).bytes;
    const auto id = find(word.substr(at, end - at));
    bool unknown = false;
    if (id) {
      symbols.push_back({.begin = at, .end = end, .id = *id});
    } else if (options_.byte_fallback &&
               std::all_of(word.begin() + static_cast<std::ptrdiff_t>(at),
                           word.begin() + static_cast<std::ptrdiff_t>(end), [&](char byte) {
                             return bytes_[static_cast<std::uint8_t>(byte)] >= 0;
                           })) {
      for (std::size_t i = at; i < end; ++i) {
        symbols.push_back(
            {.begin = i, .end = i + 1, .id = bytes_[static_cast<std::uint8_t>(word[i])]});
      }
    } else if (options_.unknown) {
      unknown = true;
      if (unknown_before && options_.fuse_unknown) {
        symbols.back().end = end;
      } else {
        symbols.push_back({.begin = at, .end = end, .id = *options_.unknown});
      }
    } else if (!symbols.empty()) {
      symbols.back().end = end;  // lost, as in the reference; its neighbours become neighbours
    }
    unknown_before = unknown;
    at = end;
  }
  return symbols;
}

void Bpe::encode(std::string_view word, std::vector<std::int64_t>& ids) const {
  if (options_.ignore_merges) {
    if (const auto whole = find(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  std::vector<Symbol> symbols = letters(word);
  merge_symbols(symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merged> {
    const auto found = merges_.find(key_of(left.id, right.id));
    if (found == merges_.end()) return std::nullopt;
    return found->second;
  });
  for (const Symbol& symbol : symbols) ids.push_back(symbol.id);
}
}  // namespace switchyard::runtime
