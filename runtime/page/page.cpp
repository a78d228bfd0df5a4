// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/page.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"

namespace switchyard::runtime::page {
namespace {
void put_table(Markup& html, const Table& table) {
  if (table.rows.empty()) return;
  const std::size_t rows = table.rows.size();
  html.open("details").element(
      "summary", {}, "The numbers (" + std::to_string(rows) + (rows == 1 ? " row)" : " rows)"));
  // A region that scrolls must be reachable by keyboard.
  html.open("div", {{"class", "scroll"}, {"tabindex", 0}}).open("table").open("thead").open("tr");
  for (const std::string& column : table.columns) {
    html.element("th", {{"scope", "col"}}, column);
  }
  html.close().close().open("tbody");
  for (const auto& row : table.rows) {
    html.open("tr");
    for (const std::string& cell : row) html.open("td").text(cell).close();
    html.close();
  }
  html.close().close().close();
  if (!table.note.empty()) html.element("p", {{"class", "made-by"}}, table.note);
  html.close();
}

void put_figure(Markup& html, const Figure& figure) {
  html.open("figure", {{"id", figure.words.id}});
  html.element("h2", {}, figure.words.title);
  if (!figure.missing.empty()) {
    html.element("p", {{"class", "none"}}, figure.missing).close();
    return;
  }
  html.element("figcaption", {{"class", "seen"}}, figure.caption);
  html.raw(inline_svg(figure.wide, figure.words, Layout::kWide));
  html.raw(inline_svg(figure.narrow, figure.words, Layout::kNarrow));
  if (!figure.command.empty()) {
    html.open("p", {{"class", "made-by"}}).text("Made by ");
    html.open("code").text(figure.command).close().close();
  }
  put_table(html, figure.table);
  html.close();
}

void put_list(Markup& html, const std::string& title, const std::vector<std::string>& entries) {
  if (entries.empty()) return;
  html.element("h2", {}, title).open("ul");
  for (const std::string& entry : entries) html.element("li", {}, entry);
  html.close();
}

void put_head(Markup& html, const std::string& title) {
  html.open("head").empty("meta", {{"charset", "utf-8"}});
  html.empty("meta", {{"name", "viewport"}, {"content", "width=device-width,initial-scale=1"}});
  html.empty("meta", {{"http-equiv", "Content-Security-Policy"},
                      {"content", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}});
  html.empty("link", {{"rel", "icon"}, {"href", "data:,"}});
  html.element("title", {}, title);
  html.open("style").raw(page_style() + chart_style()).close().close();
}

void put_header(Markup& html, const Findings& findings, const std::string& title) {
  html.open("header").element("h1", {}, title);
  if (!findings.made_on.empty()) html.element("p", {{"class", "lead"}}, findings.made_on);
  const std::vector<Tile> tiles = tiles_of(findings);
  if (!tiles.empty()) {
    html.open("div", {{"class", "tiles"}});
    for (const Tile& tile : tiles) {
      html.open("div", {{"class", "tile"}});
      html.element("b", {}, tile.value).element("span", {}, tile.says).close();
    }
    html.close();
  }
  if (!findings.notes.empty()) {
    html.open("div", {{"class", "notes"}, {"role", "note"}});
    for (const std::string& note : findings.notes) html.element("p", {}, note);
    html.close();
  }
  html.close();
}
}  // namespace

std::vector<Tile> tiles_of(const Findings& findings) {
  std::vector<Tile> tiles;
  const Result* fastest = nullptr;
  for (const Result& result : findings.results) {
    if (!is_real(result.kind) || !std::isfinite(result.tokens_per_s)) continue;
    if (fastest == nullptr || result.tokens_per_s > fastest->tokens_per_s) fastest = &result;
  }
  if (fastest != nullptr) {
    const Unit unit = count_unit(fastest->tokens_per_s);
    tiles.push_back(
        {.value = number(fastest->tokens_per_s / unit.size, 3) + unit.name,
         .says = "tokens a second at best, really run: " + name_of(*fastest, findings.results)});
  }
  for (const AgreementSummary& summary : findings.agreement_summaries) {
    if (!(summary.pairs > 0) || tiles.size() > 3) continue;
    tiles.push_back({.value = number(100 * summary.mean_error, 2) + " %",
                     .says = "mean error, " + name_of(summary.kind) +
                             (summary.machine.empty() ? "" : " on " + summary.machine) +
                             ", worst " + number(100 * summary.worst_error, 2) + " %, over " +
                             number(summary.pairs, 9) + (summary.pairs == 1 ? " pair" : " pairs")});
  }
  if (findings.placed.size() > 1) {
    const Placed& before = findings.placed.front();
    const Placed& after = findings.placed.back();
    tiles.push_back({.value = number(before.overall, 2) + " \u2192 " + number(after.overall, 2),
                     .says = "balancedness, from " + before.name + " to " + after.name});
  }
  double ranks = 0;
  for (const Result& result : findings.results) {
    if (std::isfinite(result.ranks)) ranks = std::max(ranks, result.ranks);
  }
  if (findings.results.size() > 1) {
    tiles.push_back(
        {.value = number(ranks, 9),
         .says = "ranks at most, in " + std::to_string(findings.results.size()) + " settings"});
  }
  return tiles;
}

std::string html_page(const Findings& findings, const std::vector<Figure>& figures,
                      const std::string& version) {
  const std::string title = findings.title.empty() ? "Switchyard report" : findings.title;
  Markup html;
  html.raw("<!DOCTYPE html>\n<!-- " + std::string(kMadeBy) + " -->\n");
  html.open("html", {{"lang", "en"}});
  put_head(html, title);
  html.open("body");
  put_header(html, findings, title);
  html.open("main").open("nav", {{"aria-label", "figures"}}).open("ol");
  for (const Figure& figure : figures) {
    if (!figure.missing.empty()) continue;
    html.open("li").element("a", {{"href", "#" + figure.words.id}}, figure.words.title).close();
  }
  html.close().close();
  for (const Figure& figure : figures) put_figure(html, figure);
  html.close().open("footer");
  put_list(html, "How it was measured", findings.methods);
  put_list(html, "Made from", findings.sources);
  html.element("p", {},
               "Page by switchyard report, version " + version +
                   ". It loads nothing and runs no script. On paper, tables that are open are "
                   "printed. Colours: Okabe and Ito (2008) for series, ColorBrewer's YlGnBu for "
                   "heat maps.");
  html.close().close().close();
  return html.take();
}
}  // namespace switchyard::runtime::page
