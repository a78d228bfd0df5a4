// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// SentencePiece's compiled table of replacements, such as NFKC's; layout in sentencepiece.proto.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime {

class Charsmap {
 public:
  Charsmap() = default;  ///< replaces nothing
  /// @throws std::invalid_argument  "FILE: normalizer_spec.precompiled_charsmap: ..."
  Charsmap(std::string_view bytes, const std::string& where);

  /// What stands at the beginning of a text, and how many of its bytes that replaces.
  struct Found {
    std::string_view text;  ///< valid while the table lives
    std::size_t bytes = 0;  ///< 0: nothing to replace here
  };
  /// The replacement of the longest key that `text` begins with.
  [[nodiscard]] Found longest(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string replacements_;
};
}  // namespace switchyard::runtime
