// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/number.hpp"

#include <cmath>
#include <cstdio>
#include <sstream>

namespace switchyard::runtime::page {
namespace {
constexpr std::string_view kThinSpace = "\u202F";
constexpr std::string_view kMinus = "\u2212";

/// 12345.6 as "12 345.6".
std::string spaced(const std::string& plain) {
  const std::size_t point = std::min(plain.find('.'), plain.size());
  if (point < 5) return plain;
  std::string text;
  for (std::size_t i = 0; i < point; ++i) {
    if (i > 0 && (point - i) % 3 == 0) text += kThinSpace;
    text += plain[i];
  }
  return text + plain.substr(point);
}

Unit unit_of(double largest, std::initializer_list<Unit> units) {
  Unit last;
  for (const Unit& unit : units) {
    last = unit;
    if (largest < 1000 * unit.size) break;
  }
  return last;
}

/// Of a letter, in parts of the font's size.
double letter_width(char letter) {
  const std::string_view narrow = "ijl.,:;'|!()[]tfI ";
  const std::string_view wide = "mwMW@%";
  if (narrow.find(letter) != std::string_view::npos) return 0.39;
  if (wide.find(letter) != std::string_view::npos) return 0.98;
  if (letter >= 'A' && letter <= 'Z') return 0.72;
  return 0.63;
}

bool continues(char letter) {
  return (static_cast<unsigned char>(letter) & 0xC0) == 0x80;
}
}  // namespace

std::string number(double value, int digits) {
  if (!std::isfinite(value)) return "\u2013";
  if (value == 0) return "0";
  const double size = std::abs(value);
  char text[64];
  if (size < 1e-4 || size >= 1e15) {
    std::snprintf(text, sizeof text, "%.*e", digits - 1, size);
  } else {
    const int before = size < 1 ? 0 : static_cast<int>(std::floor(std::log10(size))) + 1;
    const int leading = size < 1 ? static_cast<int>(-std::floor(std::log10(size))) - 1 : 0;
    std::snprintf(text, sizeof text, "%.*f", std::max(digits - before + leading, 0), size);
  }
  std::string plain = text;
  if (plain.find('.') != std::string::npos && plain.find('e') == std::string::npos) {
    while (plain.back() == '0') plain.pop_back();
    if (plain.back() == '.') plain.pop_back();
  }
  plain = spaced(plain);
  return value < 0 ? std::string(kMinus) + plain : plain;
}

std::string percent(double share) {
  if (!std::isfinite(share)) return "\u2013";
  char text[64];
  const double value = std::abs(100 * share);
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %%" : "%.0f %%", value);
  return (share < 0 ? std::string(kMinus) : std::string("+")) + text;
}

Unit time_unit(double largest_s) {
  return unit_of(largest_s, {{1e-9, "ns"}, {1e-6, "\u00B5s"}, {1e-3, "ms"}, {1, "s"}});
}

Unit byte_unit(double largest) {
  return unit_of(largest, {{1, "B"}, {1e3, "kB"}, {1e6, "MB"}, {1e9, "GB"}, {1e12, "TB"}});
}

Unit count_unit(double largest) {
  if (largest < 10000) return {};
  return unit_of(largest, {{1e3, "k"}, {1e6, "M"}, {1e9, "G"}});
}

double text_width(std::string_view text, double size) {
  double width = 0;
  for (const char letter : text) {
    if (continues(letter)) continue;
    width += static_cast<unsigned char>(letter) >= 0xE3 ? 1.0 : letter_width(letter);
  }
  return width * size;
}

std::string fitted(std::string_view text, double width, double size) {
  if (text_width(text, size) <= width) return std::string(text);
  while (!text.empty() && text_width(text, size) + size > width) {
    do {
      text.remove_suffix(1);
    } while (!text.empty() && continues(text.back()));
    // What is left ends in a whole character, since its last byte begins one or is one.
    while (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.remove_suffix(1);
  }
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return std::string(text) + "\u2026";
}

std::vector<std::string> wrapped(std::string_view text, double width, double size) {
  std::vector<std::string> lines(1);
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    const std::string longer = lines.back().empty() ? word : lines.back() + " " + word;
    if (lines.back().empty() || text_width(longer, size) <= width) {
      lines.back() = longer;
    } else {
      lines.push_back(word);
    }
  }
  for (std::string& line : lines) line = fitted(line, width, size);
  return lines;
}
}  // namespace switchyard::runtime::page
