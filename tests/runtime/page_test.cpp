// SPDX-License-Identifier: Apache-2.0
// Figures and pages: what is drawn of data that is large, little, or strange.
#include "runtime/page/page.hpp"

#include <cmath>
#include <gmock/gmock.h>
#include <limits>
#include <string_view>

#include "runtime/page/chart/bars.hpp"
#include "runtime/page/chart/curves.hpp"
#include "runtime/page/chart/dots.hpp"
#include "runtime/page/chart/heat.hpp"
#include "runtime/page/chart/number.hpp"
#include "runtime/page/chart/style.hpp"
#include "runtime/page/read_study.hpp"

namespace {
using namespace switchyard::runtime::page;  // NOLINT(google-build-using-namespace): the subject
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

int count(const std::string& text, const std::string& words) {
  int found = 0;
  for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++found;
  return found;
}

/// Every element is closed, in order, and no text has a letter that begins or ends a tag.
void expect_well_formed(const std::string& markup) {
  std::vector<std::string> open;
  for (auto at = markup.find('<'); at != std::string::npos; at = markup.find('<', at + 1)) {
    const auto end = markup.find_first_of("<>", at + 1);
    ASSERT_NE(end, std::string::npos);
    ASSERT_EQ(markup[end], '>') << markup.substr(at, 80);
    const bool closes = markup[at + 1] == '/';
    if (std::string_view("?!").find(markup[at + 1]) != std::string_view::npos) continue;
    if (markup[end - 1] == '/') continue;
    const auto begin = at + (closes ? 2 : 1);
    const std::string name = markup.substr(begin, markup.find_first_of(" \n>", begin) - begin);
    if (!closes) {
      open.push_back(name);
      continue;
    }
    ASSERT_FALSE(open.empty()) << name;
    ASSERT_EQ(open.back(), name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

TEST(Markup, TextThatLooksLikeMarkupIsEscapedEverywhere) {
  Markup markup;
  markup.element("text", {{"class", "a\"b<c"}}, "<script>&'");
  EXPECT_EQ(markup.take(), "<text class=\"a&quot;b&lt;c\">&lt;script&gt;&amp;&#39;</text>\n");
}

TEST(Markup, BytesThatAreNoUtf8AndControlCharactersBecomeAReplacement) {
  EXPECT_EQ(escaped("a\x01"), "a\xEF\xBF\xBD");
  EXPECT_EQ(escaped("\xC3\xA9"), "\xC3\xA9");
  EXPECT_EQ(escaped("\xC3"), "\xEF\xBF\xBD");                                  // cut off
  EXPECT_EQ(escaped("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  EXPECT_EQ(escaped("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
}

TEST(Markup, WhatIsLeftOpenIsNotHandedOut) {
  Markup markup;
  markup.open("g");
  EXPECT_THROW((void)markup.take(), std::logic_error);
}

TEST(Number, HasFewDigitsAndNoDust) {
  EXPECT_EQ(number(0), "0");
  EXPECT_EQ(number(0.1 + 0.2), "0.3");
  EXPECT_EQ(number(1234), "1234");
  EXPECT_EQ(number(12345.6, 9), "12\u202F345.6");
  EXPECT_EQ(number(0.00012345), "0.0001234");
  EXPECT_EQ(number(-2.5), "\u22122.5");
  EXPECT_EQ(number(std::numeric_limits<double>::quiet_NaN()), "\u2013");
  EXPECT_EQ(percent(-0.1234), "\u221212 %");
  EXPECT_EQ(percent(0.012), "+1.2 %");
  EXPECT_EQ(time_unit(0.0021).name, "ms");
  EXPECT_EQ(byte_unit(4096).name, "kB");
}

TEST(Number, ATextThatIsCutEndsInAWholeLetter) {
  const std::string text = "\u00E4\u00F6\u00FC\u00E4\u00F6\u00FC\u00E4\u00F6\u00FC";
  for (double width = 0; width < 90; ++width) {
    const std::string cut = fitted(text, width, 13);
    EXPECT_EQ(escaped(cut).find("\xEF\xBF\xBD"), std::string::npos) << width;
  }
}

TEST(Scale, TicksAreRoundAndSpanTheValues) {
  EXPECT_THAT(nice_ticks(0, 97, 5), ElementsAre(0, 20, 40, 60, 80, 100));
  EXPECT_THAT(nice_ticks(0, 0.3, 3), ElementsAre(0, 0.1, 0.2, 0.3));
  EXPECT_THAT(log_ticks(1, 900, 4), ElementsAre(1, 10, 100, 1000));
  for (const double low : {0.0, -3.0, 1e-9, 7e12}) {
    for (const double high : {low, low + 1e-12, low + 5, low + 1e9}) {
      const auto ticks = nice_ticks(low, high, 6);
      ASSERT_GE(ticks.size(), 2U) << low << ' ' << high;
      EXPECT_LE(ticks.size(), 7U);
      EXPECT_LT(ticks.front(), ticks.back());
    }
  }
  EXPECT_GE(nice_ticks(std::nan(""), std::nan(""), 6).size(), 2U);
  EXPECT_GE(log_ticks(std::nan(""), 0, 6).size(), 2U);
}

TEST(Style, ColoursStandOutFromTheirGroundInBothThemes) {
  EXPECT_NEAR(contrast("#000000", "#ffffff"), 21, 1e-9);
  for (const Theme& theme : {light_theme(), dark_theme()}) {
    EXPECT_GE(contrast(theme.ink, theme.ground), 7);
    EXPECT_GE(contrast(theme.quiet, theme.ground), 4.5);
    for (const auto colour : theme.series) EXPECT_GE(contrast(colour, theme.ground), 4.5);
    for (std::size_t i = 0; i + 1 < theme.heat.size(); ++i) {  // each step is seen as more
      EXPECT_LT(contrast(theme.heat[i], theme.ground), contrast(theme.heat[i + 1], theme.ground));
    }
  }
}

TEST(Heat, ManyCellsAreGatheredAndTheLargestStaysSeen) {
  Matrix2 matrix{.rows = 100, .columns = 1000, .values = std::vector<double>(100000, 1.0)};
  matrix.values[12345] = 9;
  const Gathered most = gather(matrix, 64, 256, Gather::kMost);
  EXPECT_EQ(most.row_cells, 2);
  EXPECT_EQ(most.column_cells, 4);
  EXPECT_EQ(most.matrix.rows, 50);
  EXPECT_EQ(most.matrix.columns, 250);
  EXPECT_EQ(*std::max_element(most.matrix.values.begin(), most.matrix.values.end()), 9);
  EXPECT_EQ(gather(matrix, 64, 256, Gather::kMean).matrix.values[0], 1);
}

TEST(Heat, NeighboursOfOneColourAreOneRun) {
  const HeatChart chart{
      .x_label = "x",
      .y_label = "y",
      .level_label = "l",
      .levels = {1, 2, 3, 4, 5, 6, 7, 8},
      .square = false,
      .panels = {{.name = "p",
                  .matrix = {.rows = 1, .columns = 4, .values = {0.5, 0.5, 8.5, std::nan("")}}}}};
  const std::string body = draw_heat(chart, Layout::kWide).body;
  EXPECT_EQ(count(body, "<path class=\"h0\""), 1);
  EXPECT_EQ(count(body, "<path class=\"h8\""), 1);
  EXPECT_EQ(count(body, "<path class=\"void\""), 1);
  EXPECT_EQ(count(body, "<path class=\"h3\""), 0);
}

TEST(Heat, LevelsAreRoundWhateverTheValues) {
  EXPECT_EQ(even_levels(0, 0).size(), 8U);
  EXPECT_THAT(even_levels(0, 16), ElementsAre(2, 4, 6, 8, 10, 12, 14, 16));
  EXPECT_GT(even_levels(900, 1000).front(), 800);
}

TEST(Curves, HaveASpanForEveryPointThatHasOneAndHollowMarksForWhatIsSimulated) {
  CurveChart chart{.x_label = "ranks", .y_label = "ms"};
  chart.curves.push_back({.name = "real",
                          .colour = 0,
                          .made = false,
                          .points = {{1, 10, 9, 11, "a"}, {2, 6, 6, 6, "b"}}});
  chart.curves.push_back(
      {.name = "simulated", .colour = 1, .made = true, .points = {{1, 9, 9, 9, ""}}});
  const std::string body = draw_curves(chart, Layout::kWide).body;
  EXPECT_EQ(count(body, "\"bar s0\""), 1);
  EXPECT_EQ(count(body, "hollow"), 1);
  EXPECT_EQ(count(body, "dot s0 f0"), 2);
  EXPECT_THAT(body, HasSubstr("made"));
  EXPECT_THAT(body, HasSubstr("<title>a</title>"));
}

TEST(Curves, OfNoPointOneOrUnknownOnesAreDrawn) {
  for (const std::vector<CurvePoint>& points :
       {std::vector<CurvePoint>(), std::vector<CurvePoint>{{4, 1, 1, 1, ""}},
        std::vector<CurvePoint>{{kUnknown, kUnknown, kUnknown, kUnknown, ""}}}) {
    for (const bool log : {false, true}) {
      CurveChart chart{.x_label = "x", .y_label = "y"};
      chart.log_x = chart.log_y = log;
      chart.curves.push_back({.name = "c", .points = points});
      const Drawing drawing = draw_curves(chart, Layout::kNarrow);
      EXPECT_THAT(drawing.body, Not(HasSubstr("nan")));
      EXPECT_THAT(drawing.body, Not(HasSubstr("inf")));
      expect_well_formed(drawing.body);
    }
  }
}

TEST(Bars, AndDotsOfNothingAreDrawn) {
  for (const Layout layout : {Layout::kWide, Layout::kNarrow}) {
    expect_well_formed(draw_bars({.x_label = "ms", .bars = {}}, layout).body);
    expect_well_formed(draw_dots({.x_label = "ms"}, layout).body);
    expect_well_formed(
        draw_bars(
            {.x_label = "ms", .bars = {{.name = "a", .parts = {{.name = "p", .value = kUnknown}}}}},
            layout)
            .body);
  }
}

/// A study of the schema, with names that look like markup.
nlohmann::ordered_json small_study() {
  return nlohmann::ordered_json::parse(R"({
    "command": "study", "format": 1, "name": "<b>&\"x", "complete": false,
    "starts": {"wanted": 4, "done": 3}, "again": "switchyard study --to <D>",
    "points": [
      {"id": "p1", "kind": "real", "ranks": 1, "routing": "zipf:1", "placement": "linear", "load": 0,
       "step_ms": {"median": 10, "low": 9, "high": 12}, "tokens_per_s": 100,
       "phases": [{"name": "dispatch", "mean_ms": 4, "slowest_rank_ms": 5}],
       "rows_by_rank": [[3, 1]], "balancedness_by_step": [0.5, 0.6]},
      {"id": "p2", "kind": "simulated", "ranks": 1, "placement": "a<b", "load": 0,
       "step_ms": {"median": 11, "low": 11, "high": 11}, "rows_by_rank": [[2, 2]],
       "bytes_between_ranks": [[0, 4], [5, 0]], "failures": [{"message": "gone <i>"}]}],
    "sweeps": [{"name": "strong", "x": "ranks", "series": [
      {"label": "real", "kind": "real", "rows": [{"x": 1, "point": "p1", "step_ms": 10}],
       "no_law": "1 point, want 3"}]}],
    "comparisons": [{"real": "p1", "simulated": "p2", "kind": "simulated", "real_ms": 10,
                     "simulated_ms": 11, "error": 0.1, "beyond_spread": 0}],
    "comparison_summary": [{"kind": "simulated", "pairs": 1, "mean_error": 0.1, "worst_error": 0.1}],
    "loads": [{"routing": "zipf:1", "layers": [[3, 1, 0]]}]})");
}

TEST(Page, OfAStudyHasItsFiguresAndEscapesEveryName) {
  const auto json = small_study();
  Findings findings;
  add_study(Reading(json, "study.json:"), findings);
  add_sweep_of_results(findings);
  const auto figures = figures_of(findings);
  const std::string html = html_page(findings, figures, "0.1.0");
  EXPECT_THAT(html, HasSubstr("&lt;b&gt;&amp;&quot;x"));
  EXPECT_THAT(html, HasSubstr("gone &lt;i&gt;"));
  EXPECT_THAT(html, Not(HasSubstr("<b>&\"x")));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("3 of 4 starts are done"));
  EXPECT_THAT(html, HasSubstr("1 point, want 3"));
  for (const char* id :
       {"scaling-strong", "agreement", "phases", "experts", "ranks", "balance", "traffic"}) {
    EXPECT_THAT(html, HasSubstr("<figure id=\"" + std::string(id) + "\">"));
  }
  for (const Figure& figure : figures) {
    EXPECT_EQ(figure.missing, "") << figure.words.id;
    EXPECT_FALSE(figure.table.rows.empty()) << figure.words.id;
    EXPECT_NE(figure.words.description, "") << figure.words.id;
    expect_well_formed(svg_file(figure.wide, figure.words));
    expect_well_formed(inline_svg(figure.narrow, figure.words, Layout::kNarrow));
  }
  // The error is printed.
  EXPECT_THAT(html, HasSubstr("+10 %"));
}

TEST(Page, OfNothingSaysWhatIsMissing) {
  const Findings findings;
  const std::string html = html_page(findings, figures_of(findings), "0.1.0");
  EXPECT_EQ(count(html, "class=\"none\""), 7);
  EXPECT_EQ(count(html, "<svg"), 0);
}

TEST(Page, OfTheSameFindingsIsTheSame) {
  const auto json = small_study();
  std::vector<std::string> pages;
  for (int i = 0; i < 2; ++i) {
    Findings findings;
    add_study(Reading(json, "study.json:"), findings);
    pages.push_back(html_page(findings, figures_of(findings), "0.1.0"));
  }
  EXPECT_EQ(pages[0], pages[1]);
}

TEST(Study, OfAnotherFormatOrTypeIsRefusedWithItsPlace) {
  const auto refusal = [](const std::string& path, const nlohmann::ordered_json& value) {
    auto json = small_study();
    json[nlohmann::ordered_json::json_pointer(path)] = value;
    Findings findings;
    try {
      add_study(Reading(json, "study.json:"), findings);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("taken");
  };
  EXPECT_EQ(refusal("/format", 2), "study.json: study format 2, want 1");
  EXPECT_EQ(refusal("/points/1/ranks", "x"),
            "study.json: points[1].ranks: got \"x\", want a number");
  EXPECT_EQ(refusal("/points/0/kind", "dreamt"),
            "study.json: points[0].kind: got 'dreamt', want real, simulated or fast");
  EXPECT_EQ(refusal("/points", 3), "study.json: points: got 3, want a list");
  EXPECT_EQ(
      refusal("/points/1/bytes_between_ranks/1", nlohmann::ordered_json::array({1})),
      "study.json: points[1].bytes_between_ranks[1]: got 1 numbers, want 2, as in the row before");
}
}  // namespace
