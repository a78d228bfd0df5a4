// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// A figure with all that belongs to it, and which figures findings give.
#include <optional>
#include <string>
#include <vector>

#include "runtime/page/chart/sheet.hpp"
#include "runtime/page/findings.hpp"

namespace switchyard::runtime::page {

/// The numbers of a figure, as text.
struct Table {
  std::vector<std::string> columns = {};
  std::vector<std::vector<std::string>> rows = {};
  std::string note = {};  ///< what is left out; empty: nothing
};
inline constexpr std::size_t kMostTableRows = 500;

struct Figure {
  Words words = {};
  std::string caption = {};  ///< what is seen, in a few sentences
  std::string command = {};  ///< what made it; empty: not known
  Drawing wide = {};         ///< empty: `missing` stands in its place
  Drawing narrow = {};
  Table table = {};
  std::string missing = {};  ///< why there is no figure, and what would give one
};

/// In the order of the page; those without data say so.
[[nodiscard]] std::vector<Figure> figures_of(const Findings& findings);

// Those of one subject.
[[nodiscard]] std::vector<Figure> scaling_figures(const Findings& findings);
[[nodiscard]] Figure agreement_figure(const Findings& findings);
[[nodiscard]] Figure phase_figure(const Findings& findings);
[[nodiscard]] std::vector<Figure> load_figures(const Findings& findings);
[[nodiscard]] std::vector<Figure> traffic_figures(const Findings& findings);
[[nodiscard]] Figure balance_figure(const Findings& findings);
[[nodiscard]] std::optional<Figure> policy_figure(const Findings& findings);

/// A figure that is not there.
[[nodiscard]] Figure missing_figure(std::string id, std::string title, std::string why);
/// Cuts a table to kMostTableRows and says so.
void shorten(Table& table);
}  // namespace switchyard::runtime::page
