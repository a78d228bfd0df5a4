// SPDX-License-Identifier: Apache-2.0
#include "runtime/text/charsmap.hpp"

#include <stdexcept>

namespace switchyard::runtime {
namespace {
// A unit of the trie: the label of the edge that led here (or a sign bit, for values), whether a
// key ends here, and how far away the children are.
std::uint32_t label_of(std::uint32_t unit) {
  return unit & 0x800000FFU;
}
bool ends_key(std::uint32_t unit) {
  return (unit >> 8U & 1U) != 0;
}
std::size_t offset_of(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10U) << ((unit & 1U << 9U) >> 6U);
}
std::size_t value_of(std::uint32_t unit) {
  return unit & 0x7FFFFFFFU;
}

std::uint32_t word_at(std::string_view bytes, std::size_t at) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    word |= std::uint32_t{static_cast<std::uint8_t>(bytes[at + i])} << (8 * i);
  }
  return word;
}
}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& where) {
  if (bytes.empty()) return;
  const auto fail = [&](const std::string& what) {
    throw std::invalid_argument(where + ": normalizer_spec.precompiled_charsmap: " + what);
  };
  if (bytes.size() < 8) fail("got " + std::to_string(bytes.size()) + " bytes, want at least 8");
  const std::size_t trie = word_at(bytes, 0);
  if (trie < 4 || trie % 4 != 0 || trie > bytes.size() - 4) {
    fail("trie in bytes, got " + std::to_string(trie) + ", want a multiple of 4 up to " +
         std::to_string(bytes.size() - 4));
  }
  units_.resize(trie / 4);
  for (std::size_t i = 0; i < units_.size(); ++i) units_[i] = word_at(bytes, 4 + 4 * i);
  replacements_ = bytes.substr(4 + trie);
  if (replacements_.empty() || replacements_.back() != '\0') {
    fail("replacements, got an end without NUL, want one after each");
  }
}

Charsmap::Found Charsmap::longest(std::string_view text) const {
  Found found;
  if (units_.empty()) return found;
  std::size_t node = offset_of(units_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) break;
    const std::uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!ends_key(unit) || node >= units_.size()) continue;
    const std::size_t at = value_of(units_[node]);
    if (at >= replacements_.size()) continue;
    found = {.text = std::string_view(replacements_.data() + at), .bytes = i + 1};
  }
  return found;
}
}  // namespace switchyard::runtime
