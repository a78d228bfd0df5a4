// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One HTML page from findings: no script, nothing that is loaded from anywhere.
#include <string>
#include <string_view>
#include <vector>

#include "runtime/page/figure.hpp"

namespace switchyard::runtime::page {

/// Stands in the first bytes of all that `report` writes, so that it knows its own files.
inline constexpr std::string_view kMadeBy = "Made by switchyard report";

/// A figure that stands for the whole: "14.2 %", "mean error of the simulation".
struct Tile {
  std::string value = {};
  std::string says = {};
};
[[nodiscard]] std::vector<Tile> tiles_of(const Findings& findings);

/// @param version  of the program
[[nodiscard]] std::string html_page(const Findings& findings, const std::vector<Figure>& figures,
                                    const std::string& version);
/// What the page looks like: on screens of any width, light and dark (by the reader's preference,
/// or as data-theme of <html> says), and on paper.
[[nodiscard]] std::string page_style();
}  // namespace switchyard::runtime::page
