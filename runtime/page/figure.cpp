// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/figure.hpp"

#include <utility>

namespace switchyard::runtime::page {

Figure missing_figure(std::string id, std::string title, std::string why) {
  Figure figure;
  figure.words = {.id = std::move(id), .title = std::move(title), .description = ""};
  figure.missing = std::move(why);
  return figure;
}

void shorten(Table& table) {
  const std::size_t all = table.rows.size();
  if (all <= kMostTableRows) return;
  table.rows.resize(kMostTableRows);
  table.note = "The first " + std::to_string(kMostTableRows) + " of " + std::to_string(all) +
               " rows; --json FILE has all of them.";
}

std::vector<Figure> figures_of(const Findings& findings) {
  std::vector<Figure> figures = scaling_figures(findings);
  const auto add = [&](std::vector<Figure> more) {
    for (Figure& figure : more) figures.push_back(std::move(figure));
  };
  figures.push_back(agreement_figure(findings));
  figures.push_back(phase_figure(findings));
  add(load_figures(findings));
  figures.push_back(balance_figure(findings));
  if (auto policies = policy_figure(findings)) figures.push_back(std::move(*policies));
  add(traffic_figures(findings));
  return figures;
}
}  // namespace switchyard::runtime::page
