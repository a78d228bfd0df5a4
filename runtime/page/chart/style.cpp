// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/style.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace switchyard::runtime::page {
namespace {
int hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  const char low = static_cast<char>(letter | 0x20);
  if (low >= 'a' && low <= 'f') return low - 'a' + 10;
  throw std::invalid_argument("colour: a letter that is no hex digit");
}

/// Relative luminance, WCAG 2.2.
double luminance(std::string_view colour) {
  if (colour.size() != 7 || colour[0] != '#') throw std::invalid_argument("colour: want #rrggbb");
  double sum = 0;
  constexpr std::array<double, 3> kWeights{0.2126, 0.7152, 0.0722};
  for (std::size_t i = 0; i < 3; ++i) {
    const double part = (16 * hex_digit(colour[1 + 2 * i]) + hex_digit(colour[2 + 2 * i])) / 255.0;
    sum += kWeights[i] * (part <= 0.04045 ? part / 12.92 : std::pow((part + 0.055) / 1.055, 2.4));
  }
  return sum;
}
}  // namespace

Theme light_theme() {
  return {.ground = "#ffffff",
          .ink = "#1b1f24",
          .quiet = "#566070",
          .line = "#9aa3ae",
          .faint = "#e7eaee",
          .series = {"#0072b2", "#b94700", "#007a5a", "#a8457f", "#8c6400", "#5b6470"},
          .heat = {"#f7fbd4", "#e3f3b4", "#bde3b5", "#7accbb", "#3fb0c5", "#2187b8", "#2360a9",
                   "#253694", "#0a1e5c"},
          .dark_letters = {true, true, true, true, true, false, false, false, false}};
}

Theme dark_theme() {
  return {.ground = "#14171b",
          .ink = "#e8eaed",
          .quiet = "#a9b2bd",
          .line = "#68727e",
          .faint = "#2a2f36",
          .series = {"#56b4e9", "#ff8a4c", "#2cc295", "#e69ac4", "#e6b93a", "#a3adb8"},
          .heat = {"#1a2440", "#22346e", "#24509a", "#1f74b0", "#2b9cc0", "#55bdbd", "#93d6b8",
                   "#cdeab0", "#fbffd0"},
          .dark_letters = {false, false, false, false, true, true, true, true, true}};
}

double contrast(std::string_view one, std::string_view other) {
  const auto [darker, lighter] = std::minmax({luminance(one), luminance(other)});
  return (lighter + 0.05) / (darker + 0.05);
}

std::string variables(const Theme& theme) {
  std::string text = "--ground:" + std::string(theme.ground) + ";--ink:" + std::string(theme.ink) +
                     ";--quiet:" + std::string(theme.quiet) + ";--line:" + std::string(theme.line) +
                     ";--faint:" + std::string(theme.faint) + ";";
  for (std::size_t i = 0; i < theme.series.size(); ++i) {
    text += "--s" + std::to_string(i) + ":" + std::string(theme.series[i]) + ";";
  }
  for (std::size_t i = 0; i < theme.heat.size(); ++i) {
    text += "--h" + std::to_string(i) + ":" + std::string(theme.heat[i]) + ";";
  }
  return text;
}

std::string chart_style() {
  std::string text =
      ".chart{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Noto Sans',"
      "'Liberation Sans',sans-serif;font-variant-numeric:tabular-nums}"
      ".chart text{fill:var(--ink);font-size:13px}"
      ".chart .tick{fill:var(--quiet);font-size:12.5px}"
      ".chart .axis{fill:var(--quiet);font-size:13px}"
      ".chart .panel{font-weight:600}"
      ".chart .name{font-weight:600}"
      ".chart .rim{stroke:var(--line);stroke-width:1;fill:none}"
      ".chart .grid{stroke:var(--faint);stroke-width:1;fill:none}"
      ".chart .mark{stroke:var(--line);stroke-width:1;stroke-dasharray:2 3;fill:none}"
      ".chart .ideal{stroke:var(--quiet);stroke-width:1.25;stroke-dasharray:1.5 3.5;"
      "stroke-linecap:round;fill:none}"
      ".chart .curve{stroke-width:2;stroke-linejoin:round;stroke-linecap:round;fill:none}"
      ".chart .law{stroke-width:1.25;fill:none;opacity:.75}"
      ".chart .made{stroke-dasharray:6 4}"
      ".chart .bar{stroke-width:1.5;fill:none}"
      ".chart .dot{stroke-width:1.75}"
      ".chart .hollow{fill:var(--ground)!important}"
      ".chart .void{fill:var(--faint)}"
      ".chart .cut{stroke:var(--ground);stroke-width:1;fill:none}"
      ".chart .waits{opacity:.45}"
      ".chart text.inside{fill:var(--ground);font-size:12.5px}";
  for (int i = 0; i < kSeriesColours; ++i) {
    const std::string colour = "var(--s" + std::to_string(i) + ")";
    const std::string name = ".chart .s" + std::to_string(i);
    text += name + "{stroke:" + colour + "}";
    text += ".chart .f" + std::to_string(i) + "{fill:" + colour + "}";
    text += ".chart text.s" + std::to_string(i) + "{fill:" + colour + ";stroke:none}";
  }
  for (int i = 0; i < kHeatLevels; ++i) {
    text += ".chart .h" + std::to_string(i) + "{fill:var(--h" + std::to_string(i) + ")}";
  }
  return text;
}

std::string series_class(int index) {
  return "s" + std::to_string(index % kSeriesColours);
}
}  // namespace switchyard::runtime::page
