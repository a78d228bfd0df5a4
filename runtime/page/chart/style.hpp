// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Colours and letters of all figures, light and dark.
///
/// Series: the hues of Okabe and Ito ("Color Universal Design", 2008), which people with any of the
/// common kinds of colour blindness tell apart, made darker on white and lighter on black until
/// each has a contrast of at least 4.5 to the ground. Heat: YlGnBu of ColorBrewer (Brewer and
/// Harrower 2003, "colour-blind safe"), turned round in the dark, so that more is always further
/// from the ground.
#include <array>
#include <string>
#include <string_view>

namespace switchyard::runtime::page {

inline constexpr int kSeriesColours = 6;
inline constexpr int kHeatLevels = 9;
inline constexpr double kTickSize = 12.5;  ///< of letters, in pixels
inline constexpr double kTextSize = 13;

struct Theme {
  std::string_view ground, ink, quiet, line, faint;  ///< page, text, lesser text, axes, grid
  std::array<std::string_view, kSeriesColours> series;
  std::array<std::string_view, kHeatLevels> heat;  ///< from little to much
  std::array<bool, kHeatLevels> dark_letters;      ///< what is read on each
};
[[nodiscard]] Theme light_theme();
[[nodiscard]] Theme dark_theme();

/// Contrast of two colours as #rrggbb, from 1 to 21 (WCAG 2.2, "contrast ratio").
[[nodiscard]] double contrast(std::string_view one, std::string_view other);

/// A theme as CSS variables: "--ink:#...;...".
[[nodiscard]] std::string variables(const Theme& theme);
/// What the classes in figures look like, by those variables.
[[nodiscard]] std::string chart_style();
/// Class of series `index`, which go round.
[[nodiscard]] std::string series_class(int index);
}  // namespace switchyard::runtime::page
