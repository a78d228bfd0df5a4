// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/sources.hpp"

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "runtime/page/placed.hpp"
#include "runtime/page/read_study.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::runtime::page {
namespace {
constexpr std::uintmax_t kMostJson = std::uintmax_t{1} << 28;  // bytes

std::string file_of(const std::string& path) {
  return std::filesystem::is_directory(path) ? (std::filesystem::path(path) / "study.json").string()
                                             : path;
}

std::string first_bytes(const std::string& file, std::size_t count) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw std::system_error(errno, std::generic_category(), "report: cannot read " + file);
  }
  std::string bytes(count, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(stream.gcount()));
  return bytes;
}

/// Adds what a JSON file of ours holds. @return  what it is
std::string add_json(const std::string& file, Findings& findings) {
  if (std::filesystem::file_size(file) > kMostJson) {
    throw std::invalid_argument(file + ": got " + std::to_string(std::filesystem::file_size(file)) +
                                " bytes of JSON, want at most " + std::to_string(kMostJson));
  }
  nlohmann::ordered_json json;
  try {
    json = nlohmann::ordered_json::parse(read_text(file));
  } catch (const nlohmann::json::parse_error& error) {
    throw std::invalid_argument(file + ": byte " + std::to_string(error.byte) + ": not JSON");
  }
  const Reading reading(json, file + ":");
  if (!json.is_object()) reading.refuse("an object that a command wrote with --json");
  const std::string command = reading.text("command");
  if (command == "study") {
    add_study(reading, findings);
    return "a study";
  }
  if (command == "run" || command == "trace record" || command == "simulate") {
    add_result(reading, std::filesystem::path(file).filename().string(), findings);
    return "the result of " + command;
  }
  if (command == "place compare") {
    add_comparison(reading, findings);
    return "the verdicts of place compare";
  }
  throw std::invalid_argument(file + ": command: got '" + command +
                              "', want study, run, simulate or place compare");
}
}  // namespace

SourceKind kind_of_source(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    if (std::filesystem::exists(file_of(path))) return SourceKind::kStudy;
    throw std::invalid_argument(path +
                                ": no study.json in it, want a folder of `switchyard study`");
  }
  const std::string head = first_bytes(path, 4096);
  if (head.starts_with("SYTRAC")) return SourceKind::kTrace;
  const std::size_t begin = head.find_first_not_of(" \t\r\n");
  if (begin != std::string::npos && (head[begin] == '{' || head[begin] == '[')) {
    return SourceKind::kJson;
  }
  const bool text = head.find('\0') == std::string::npos;
  if (text && (head.find("rank") != std::string::npos) &&
      head.find("version") != std::string::npos) {
    return SourceKind::kPlacement;
  }
  throw std::invalid_argument(path +
                              ": neither JSON of a command, nor a routing trace, nor a placement");
}

Findings gather_findings(const Sources& sources,
                         const std::function<void(std::int64_t, std::int64_t)>& progress) {
  Findings findings;
  std::vector<std::string> traces;
  std::vector<std::string> placements;
  for (const std::string& path : sources.paths) {
    switch (kind_of_source(path)) {
      case SourceKind::kStudy:
      case SourceKind::kJson:
        findings.sources.push_back(path + ": " + add_json(file_of(path), findings));
        break;
      case SourceKind::kTrace:
        traces.push_back(path);
        findings.sources.push_back(path + ": a routing trace");
        break;
      case SourceKind::kPlacement:
        placements.push_back(path);
        findings.sources.push_back(path + ": a placement");
        break;
    }
  }
  if (traces.size() > 1) {
    throw std::invalid_argument(traces[1] + ": a second routing trace, want one: " + traces[0]);
  }
  if (traces.empty() && !placements.empty()) {
    throw std::invalid_argument(placements[0] +
                                ": a placement without a routing trace to judge it");
  }
  add_sweep_of_results(findings);
  if (traces.empty()) return findings;
  if (placements.empty() && sources.ranks > 0) placements.emplace_back("linear");
  // What there was before, if nobody says what that is.
  if (placements.size() == 1 && placements[0] != "linear") {
    placements.insert(placements.begin(), "linear");
  }
  findings.placed_command = "switchyard report " + traces[0];
  for (const std::string& file : placements) {
    if (file != "linear") findings.placed_command += " " + file;
  }
  if (sources.ranks > 0) findings.placed_command += " --ranks " + std::to_string(sources.ranks);
  add_placed({.trace = traces[0], .placements = placements, .ranks = sources.ranks}, findings,
             progress);
  return findings;
}
}  // namespace switchyard::runtime::page
