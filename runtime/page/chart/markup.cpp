// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/markup.hpp"

#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace switchyard::runtime::page {
namespace {
/// Bytes of the UTF-8 character at the beginning of the text; 0: there is none.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t count = first < 0x80   ? 1
                            : first < 0xC2 ? 0
                            : first < 0xE0 ? 2
                            : first < 0xF0 ? 3
                            : first < 0xF5 ? 4
                                           : 0;
  if (count == 0 || count > text.size()) return 0;
  for (std::size_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies behind U+10FFFF.
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return count;
}
}  // namespace

std::string escaped(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  while (!text.empty()) {
    const std::size_t count = character_bytes(text);
    const char letter = text.front();
    if (count == 0 || (count == 1 && static_cast<unsigned char>(letter) < 0x20 && letter != '\n' &&
                       letter != '\t')) {
      safe += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    if (letter == '&')
      safe += "&amp;";
    else if (letter == '<')
      safe += "&lt;";
    else if (letter == '>')
      safe += "&gt;";
    else if (letter == '"')
      safe += "&quot;";
    else if (letter == '\'')
      safe += "&#39;";
    else
      safe += text.substr(0, count);
    text.remove_prefix(count);
  }
  return safe;
}

std::string px(double value) {
  if (!std::isfinite(value)) value = 0;
  char text[48];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string shown = text;
  if (shown.ends_with(".0")) shown.resize(shown.size() - 2);
  return shown == "-0" ? "0" : shown;
}

void Markup::begin(std::string_view tag, const std::vector<Attribute>& attributes) {
  text_ += '<';
  text_ += tag;
  for (const Attribute& attribute : attributes) {
    text_ += ' ' + attribute.name + "=\"" + escaped(attribute.value) + '"';
  }
}

Markup& Markup::open(std::string_view tag, const std::vector<Attribute>& attributes) {
  begin(tag, attributes);
  text_ += '>';
  open_.emplace_back(tag);
  return *this;
}

Markup& Markup::close() {
  if (open_.empty()) throw std::logic_error("markup: nothing is open");
  text_ += "</" + open_.back() + ">";
  // A line an element keeps files readable and their differences small.
  if (open_.back() != "text" && open_.back() != "td" && open_.back() != "th") text_ += '\n';
  open_.pop_back();
  return *this;
}

Markup& Markup::empty(std::string_view tag, const std::vector<Attribute>& attributes) {
  begin(tag, attributes);
  text_ += "/>\n";
  return *this;
}

Markup& Markup::element(std::string_view tag, const std::vector<Attribute>& attributes,
                        std::string_view text) {
  begin(tag, attributes);
  text_ += '>' + escaped(text) + "</";
  text_ += tag;
  text_ += ">\n";
  return *this;
}

Markup& Markup::text(std::string_view text) {
  text_ += escaped(text);
  return *this;
}

Markup& Markup::raw(std::string_view markup) {
  text_ += markup;
  return *this;
}

std::string Markup::take() {
  if (!open_.empty()) throw std::logic_error("markup: <" + open_.back() + "> is still open");
  return std::exchange(text_, {});
}
}  // namespace switchyard::runtime::page
