// SPDX-License-Identifier: Apache-2.0
// `report` from outside: files in, a page and its figures out, and what it refuses.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/launch/program.hpp"

namespace {
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::switchyard;
using testing::HasSubstr;
using testing::Not;

class Report : public testing::Test {
 protected:
  Report() : folder_(testing::TempDir() + "report" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~Report() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string in(const std::string& name) const { return folder_ + "/" + name; }
  std::string with(const std::string& name, const std::string& text) const {
    std::ofstream(in(name)) << text;
    return in(name);
  }
  [[nodiscard]] std::string text(const std::string& name) const {
    std::ifstream stream(in(name));
    std::ostringstream all;
    all << stream.rdbuf();
    return all.str();
  }
  /// `switchyard report WORDS --output FOLDER/page.html`
  [[nodiscard]] Outcome report(std::vector<std::string> words) const {
    words.insert(words.begin(), "report");
    words.insert(words.end(), {"--output", in("page.html")});
    return run({.words = switchyard(words)});
  }
  std::string trace() const {
    const Outcome made =
        run({.words = switchyard({"trace", "synth", "--workload", "zipf:1.2", "--experts", "16",
                                  "--top-k", "2", "--layers", "2", "--tokens", "64", "--steps", "3",
                                  "--output", in("t.sytrace")})});
    EXPECT_EQ(made.status, 0) << made.err;
    return in("t.sytrace");
  }
  std::string folder_;
};

TEST_F(Report, OfATraceAndAPlacementShowsBeforeAndAfter) {
  const std::string file = trace();
  const Outcome plan =
      run({.words = switchyard({"place", "plan", "--trace", file, "--ranks", "4", "--slots", "5",
                                "--policy", "copies", "--out", in("p<&>.txt")})});
  ASSERT_EQ(plan.status, 0) << plan.err;
  const Outcome outcome = report({file, in("p<&>.txt"), "--json", in("r.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::string page = text("page.html");
  EXPECT_THAT(page, HasSubstr("p&lt;&amp;&gt;.txt"));
  EXPECT_THAT(page, Not(HasSubstr("p<&>")));
  for (const char* name : {"experts", "copies", "ranks", "balance", "traffic"}) {
    EXPECT_THAT(text("page-" + std::string(name) + ".svg"), HasSubstr("</svg>")) << name;
  }
  const auto json = nlohmann::json::parse(text("r.json"));
  for (const auto& figure : json.at("figures")) {
    if (figure.at("id") == "traffic") {
      EXPECT_EQ(figure.at("rows").size(), 2U * 4 * 3);  // pairs of two placements
    } else if (figure.at("id") == "balance") {
      EXPECT_EQ(figure.at("rows").size(), 3U);
    }
  }
}

TEST_F(Report, OfThousandsOfRanksIsGatheredAndSaysSo) {
  const Outcome outcome = report({trace(), "--ranks", "2048"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(text("page.html"), HasSubstr("a cell is the mean of 32 by 32 pairs"));
  EXPECT_LT(std::filesystem::file_size(in("page.html")), 2U << 20);
}

TEST_F(Report, OfResultsDrawsTheirPhasesAndMessages) {
  const std::string one =
      with("one.json", R"({"command": "run", "ranks": 2, "steps": 2, "seconds": 0.02,
    "tokens_per_s": 7, "model": "m", "phases": [{"name": "dispatch", "mean_ms": 4, "mean_wait_ms": 1}],
    "bytes_between_ranks": [[0, 9], [8, 0]]})");
  const std::string two =
      with("two.json", R"({"command": "simulate", "engine": "faithful", "ranks": 2,
    "simulated_step_s": 0.009, "model": "m", "machine": "x", "phases": []})");
  const Outcome outcome = report({one, two});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::string page = text("page.html");
  EXPECT_THAT(page, HasSubstr("of it, waiting for other ranks"));
  EXPECT_THAT(page, HasSubstr("\u221210 %"));  // 9 ms for 10
  EXPECT_THAT(page, HasSubstr("Made by <code>mpirun -n 2 switchyard run"));
  EXPECT_THAT(outcome.out, HasSubstr("without Load of every expert"));
}

TEST_F(Report, DoesNotReplaceWhatItHasNotMade) {
  const std::string one = with("one.json", R"({"command": "run"})");
  with("page.html", "my own");
  const Outcome refused = report({one});
  EXPECT_EQ(refused.status, 2);
  EXPECT_THAT(refused.err,
              HasSubstr("page.html exists and is no page of switchyard report; --force"));
  EXPECT_EQ(text("page.html"), "my own");
  EXPECT_EQ(report({one, "--force"}).status, 0);
  EXPECT_EQ(report({one}).status, 0);  // its own
}

TEST_F(Report, OfBadFilesIsRefusedInOneLine) {
  const struct {
    std::string name, text, words;
    int status;
  } cases[] = {
      {"a", "", "neither JSON of a command, nor a routing trace, nor a placement", 2},
      {"b.json", "{\"command\": ", "not JSON", 2},
      {"c.json", "[1]", "want an object that a command wrote", 2},
      {"d.json", R"({"command": "models"})", "got 'models', want study, run", 2},
      {"e.json", R"({"command": "study", "format": 9})", "study format 9, want 1", 2},
      {"f.json", R"({"command": "run", "phases": {}})", "phases: got an object, want a list", 2},
      {"g.sytrace", "SYTRAC01xx", "g.sytrace", 2},
      {"h.txt", "version: 1 rank { expert: 0 }", "a placement without a routing trace", 2}};
  for (const auto& [name, content, words, status] : cases) {
    const Outcome outcome = report({with(name, content)});
    EXPECT_EQ(outcome.status, status) << name << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(words)) << name;
    EXPECT_EQ(outcome.err_lines("switchyard: error: "), 1) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(in("page.html"))) << name;
  }
  EXPECT_EQ(report({"/nowhere"}).status, 74);
  EXPECT_THAT(report({folder_}).err, HasSubstr("no study.json in it"));
}

TEST_F(Report, OfAPlacementForAnotherNumberOfExpertsIsRefused) {
  const std::string plan = with("p.txt", "version: 1 rank { expert: [0, 1] } rank { expert: [2] }");
  const Outcome outcome = report({trace(), plan});
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err, HasSubstr("p.txt"));
}
}  // namespace
