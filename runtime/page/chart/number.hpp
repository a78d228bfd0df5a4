// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Numbers as people read them, and how wide text will be.
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::runtime::page {

/// Up to `digits` significant ones, thousands apart by thin spaces: 12 345, 0.0123, 3.2e-9.
[[nodiscard]] std::string number(double value, int digits = 4);

/// +3.2 %, −12 %: with its sign.
[[nodiscard]] std::string percent(double share);

/// What values are divided by to be shown, and what is written behind them.
struct Unit {
  double size = 1;
  std::string name;  ///< "ms", "MB", "k"; empty: none
};
/// Seconds as s, ms, µs or ns, by the largest.
[[nodiscard]] Unit time_unit(double largest_s);
/// Bytes as B, kB, MB, GB or TB.
[[nodiscard]] Unit byte_unit(double largest);
/// Counts as they are, or in k, M, G.
[[nodiscard]] Unit count_unit(double largest);

/// Widest that the text can be in a system's sans-serif font; on the safe side.
/// @param size  of the font, in pixels
[[nodiscard]] double text_width(std::string_view text, double size);
/// The text, or its beginning and an ellipsis, so that it fits.
[[nodiscard]] std::string fitted(std::string_view text, double width, double size);
/// Lines of whole words that fit, at least one.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, double width, double size);
}  // namespace switchyard::runtime::page
