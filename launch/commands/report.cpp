// SPDX-License-Identifier: Apache-2.0
// report: studies, results, traces and placements as one page and its figures as files.
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>

#include "launch/commands/all.hpp"
#include "launch/progress.hpp"
#include "launch/version.hpp"
#include "runtime/page/page.hpp"
#include "runtime/page/sources.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
namespace page = runtime::page;
using Json = nlohmann::ordered_json;

/// DIR/report.html of a study, report.html otherwise.
std::string output_file(const Options& options) {
  if (options.has("output")) return options.text("output");
  for (const std::string& path : options.positionals()) {
    const std::filesystem::path given(path);
    if (std::filesystem::is_directory(given)) return (given / "report.html").string();
    if (given.filename() == "study.json") return (given.parent_path() / "report.html").string();
  }
  return "report.html";
}

/// "DIR/report" of "DIR/report.html": what the files of figures begin with.
std::string stem_of(const std::string& file) {
  const std::filesystem::path path(file);
  return (path.parent_path() / path.stem()).string();
}

/// Refuses to replace what somebody else has made.
void require_ours(const std::string& file, bool force) {
  if (force || !std::filesystem::is_regular_file(file) || std::filesystem::file_size(file) == 0) {
    return;
  }
  std::string head(256, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (head.find(page::kMadeBy) != std::string::npos) return;
  throw std::invalid_argument("--output: " + file +
                              " exists and is no page of switchyard report; --force replaces it");
}

/// A file that is written and not yet in place.
struct Written {
  std::string name;
  std::unique_ptr<runtime::WholeFile> file;
};

Written written(const std::string& name, const std::string& text) {
  Written result{.name = name, .file = std::make_unique<runtime::WholeFile>("--output", name)};
  result.file->write(std::as_bytes(std::span(text)));
  return result;
}

Json json_of(const std::vector<page::Figure>& figures, const std::vector<Written>& files) {
  Json json{{"files", Json::array()}, {"figures", Json::array()}};
  for (const Written& file : files) json["files"].push_back(file.name);
  for (const page::Figure& figure : figures) {
    json["figures"].push_back({{"id", figure.words.id},
                               {"title", figure.words.title},
                               {"missing", figure.missing.empty() ? Json() : Json(figure.missing)},
                               {"columns", figure.table.columns},
                               {"rows", figure.table.rows}});
  }
  return json;
}

int report(Context& context) {
  const Options& options = context.options;
  const std::string output = output_file(options);
  const bool force = options.flag("force");
  require_ours(output, force);
  Progress progress("switchyard report: step", context.first());
  page::Findings findings = page::gather_findings(
      {.paths = options.positionals(),
       .ranks = options.has("ranks") ? static_cast<int>(options.integer("ranks")) : 0},
      [&](std::int64_t done, std::int64_t of) { progress.at(done, of); });
  progress.clear();
  if (options.has("title")) findings.title = options.text("title");
  const std::vector<page::Figure> figures = page::figures_of(findings);
  std::vector<Written> files;
  files.push_back(written(output, page::html_page(findings, figures, version())));
  for (const page::Figure& figure : figures) {
    if (!figure.missing.empty()) continue;
    const std::string name = stem_of(output) + "-" + figure.words.id + ".svg";
    require_ours(name, force);
    files.push_back(written(name, page::svg_file(figure.wide, figure.words)));
  }
  for (const Written& each : files) {
    each.file->commit();
    context.out << each.name << '\n';
  }
  for (const page::Figure& figure : figures) {
    if (!figure.missing.empty()) {
      context.out << "without " << figure.words.title << ": " << figure.missing << '\n';
    }
  }
  if (context.json.wanted()) context.json.write(json_of(figures, files));
  return runtime::kDone;
}
}  // namespace

Command report_command() {
  return {.name = "report",
          .summary = "studies, results, routing traces and placements as one page",
          .options = {output_option("output", "FILE",
                                    "the page; figures stand beside it as FILE-NAME.svg; without: "
                                    "report.html, in the folder of a study"),
                      text_option("title", "TEXT", "of the page, if not the study's name"),
                      integer_option("ranks", "COUNT",
                                     "that a routing trace is shown on, without a placement",
                                     std::nullopt, {.least = 1, .most = 1 << 16}),
                      flag_option("force", "replaces files that are no page of ours")},
          .positionals = {.unit = "PATH",
                          .help = "folders of studies, --json of run, simulate and place compare, "
                                  "a routing trace, placement files: the first before, the last "
                                  "after",
                          .least = 1,
                          .most = 4096},
          .run = report};
}
}  // namespace switchyard::launch
