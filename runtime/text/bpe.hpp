// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A vocabulary with ranked merges: the `model` of a tokenizer.json.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/text/merges.hpp"

namespace switchyard::runtime {

class Bpe {
 public:
  struct Options {
    std::optional<std::int64_t> unknown;  ///< for a letter that has no id; none: it is lost
    bool fuse_unknown = false;            ///< a run of them is one
    bool byte_fallback = false;           ///< its bytes, "<0x0A>", where all have ids
    bool ignore_merges = false;           ///< a word of the vocabulary is taken whole
  };
  Bpe() = default;
  Bpe(std::unordered_map<std::string, std::int64_t> vocabulary, const Options& options);

  /// The next merge, in order of rank.
  /// @throws std::invalid_argument  "'ab', got no id, want one": a part or the whole
  void add_merge(std::string_view left, std::string_view right);
  /// Appends the ids of one word.
  void encode(std::string_view word, std::vector<std::int64_t>& ids) const;

  [[nodiscard]] std::optional<std::int64_t> find(std::string_view token) const;
  [[nodiscard]] const std::unordered_map<std::string, std::int64_t>& vocabulary() const {
    return vocabulary_;
  }

 private:
  [[nodiscard]] std::vector<Symbol> letters(std::string_view word) const;
  std::unordered_map<std::string, std::int64_t> vocabulary_;
  std::unordered_map<std::uint64_t, Merged> merges_;  ///< by the ids of the pair
  std::array<std::int64_t, 256> bytes_{};             ///< -1: none
  Options options_;
};
}  // namespace switchyard::runtime
