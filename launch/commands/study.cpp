// SPDX-License-Identifier: Apache-2.0
// switchyard study [FILE] --to DIRECTORY: scaling studies over real and simulated ranks.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <string_view>
#include <unistd.h>

#include "launch/commands/all.hpp"
#include "launch/commands/bench_report.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/commands/simulator.hpp"
#include "launch/commands/study_options.hpp"
#include "launch/machine.hpp"
#include "launch/study/results.hpp"
#include "launch/study/starts.hpp"
#include "launch/supervise/launcher.hpp"
#include "launch/version.hpp"
#include "runtime/report/digest.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/status.hpp"
#include "runtime/study/points.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::launch {
namespace {
using runtime::study::Point;
using runtime::study::RankKind;
using runtime::study::Study;

void require_choice(const std::string& name, const std::string& value) {
  for (const Option& option : run_options()) {
    if (option.name == name) static_cast<void>(canonical_value(option, "--" + name, value));
  }
}

void require_startable(const Options& options, const Study& study,
                       const runtime::study::StudyPlan& plan) {
  require_choice("weights", study.weights);
  require_choice("math", study.math);
  require_choice("transport", study.transport);
  const std::int64_t cores = static_cast<std::int64_t>(read_machine("/", {}).cores_allowed);
  for (const Point& point : plan.points) {
    if (point.kind != RankKind::kReal) {
      static_cast<void>(simulator_program("study"));
      continue;
    }
    const char* const already = std::getenv("OMPI_MCA_rmaps_base_oversubscribe");
    const bool may = options.flag("oversubscribe") || !options.list("mpirun-option").empty() ||
                     (already != nullptr && std::string_view(already) == "1");
    if (may || cores == 0 || point.ranks <= cores) continue;
    throw std::invalid_argument("--real: got " + std::to_string(point.ranks) + ", want at most " +
                                std::to_string(cores) +
                                ", the cores of this machine, or --oversubscribe");
  }
}

void require_alone() {
  for (const char* const variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK"}) {
    if (std::getenv(variable) == nullptr) continue;
    throw std::invalid_argument(
        "study: got it under mpirun, want it alone: it starts mpirun itself, for every point anew");
  }
}

std::string digest_of_file(const std::string& name) {
  return runtime::sha256(runtime::read_text(name)).substr(0, 16);
}

/// What must be equal for two starts of this command to be of one study: settings, the program, and
/// what is in the files that it names. Not what only says how starts are judged.
std::string identity_of(const Study& study) {
  Study same = study;
  same.name.clear();
  same.repetitions = 0;
  same.confidence = 0;
  std::string identity = "program: " + version() + " " + commit() + "\n" + to_text(same);
  std::vector<std::string> files{study.model, runtime::routing_trace(study.routing),
                                 study.placement};
  files.insert(files.end(), study.machines.begin(), study.machines.end());
  for (const auto& sweep : study.sweeps) {
    for (const std::string& value : sweep.values) {
      const std::string trace = runtime::routing_trace(value);
      files.push_back(trace.empty() ? value : trace);
    }
  }
  std::ranges::sort(files);
  files.erase(std::ranges::unique(files).begin(), files.end());
  for (const std::string& file : files) {
    std::error_code none;
    if (!std::filesystem::is_regular_file(file, none)) continue;
    identity += "contents of " + file + ": " + digest_of_file(file) + "\n";
  }
  // Settings of the starts that came another way.
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.starts_with("SWITCHYARD_")) variables.emplace_back(text);
  }
  std::ranges::sort(variables);
  for (const std::string& variable : variables) identity += "environment: " + variable + "\n";
  return identity;
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[32];
  ::gmtime_r(&now, &parts);
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

/// A study from its first missing start to its last, or until somebody asks it to leave.
class StudyRun {
 public:
  explicit StudyRun(Context& context)
      : context_(context),
        options_(context.options),
        study_(study_from(options_)),
        plan_(plan_of(study_)) {
    if (!options_.has("to")) {
      throw std::invalid_argument("--to: got none, want the study's folder");
    }
    require_alone();
    require_startable(options_, study_, plan_);
    StartSettings starts{.mpirun = {},
                         .mpirun_options = options_.list("mpirun-option"),
                         .oversubscribe = options_.flag("oversubscribe"),
                         .limit_s = options_.real("start-seconds"),
                         .say = [this](std::string_view line) { context_.reporter.line(line); }};
    const bool real = std::ranges::any_of(
        plan_.points, [](const Point& point) { return point.kind == RankKind::kReal; });
    if (real) {
      require_root_opted_in("study");
      starts.mpirun = find_launcher("study", options_.text("mpirun"));
    }
    starts_ = std::move(starts);
  }

  int run() {
    StudyFolder folder(options_.text("to"), identity_of(study_));
    folder.write("study.textproto", to_text(study_));
    const std::string began = now_utc();
    adopt_orphans();
    SignalQueue signals;
    PointStarter starter(study_, starts_);
    bool asked = false;
    int number = 0;
    const std::vector<Todo> todo = missing(folder.finished());
    for (const Todo& one : todo) {
      ++number;
      if (refused(folder.finished(), one)) continue;
      if (signals.wait(0) != 0) asked = true;
      if (asked) break;
      FinishedStart finished = starter.run(plan_.points[one.point], one.repetition, signals, asked);
      if (asked && finished.status != runtime::kDone) break;
      say(finished, number, todo.size(), one);
      folder.add(std::move(finished));
    }
    const StudyResults results = results_of(study_, plan_, folder.finished());
    finish(folder, results, began);
    return leave(results, asked);
  }

 private:
  struct Todo {
    std::size_t point = 0;
    int repetition = 0;
  };

  /// Round after round over all points, every other one backwards, so that what the machine does
  /// meanwhile falls on all of them.
  [[nodiscard]] std::vector<Todo> missing(const std::vector<FinishedStart>& finished) const {
    std::vector<Todo> todo;
    for (int round = 0; round < std::max(study_.repetitions, 1); ++round) {
      for (std::size_t i = 0; i < plan_.points.size(); ++i) {
        const std::size_t point = round % 2 == 0 ? i : plan_.points.size() - 1 - i;
        if (round >= starts_of(study_, plan_.points[point])) continue;
        if (!over(finished, {point, round})) todo.push_back({point, round});
      }
    }
    return todo;
  }

  [[nodiscard]] bool over(const std::vector<FinishedStart>& finished, const Todo& todo) const {
    const std::string key = key_of(plan_.points[todo.point], study_);
    return std::ranges::any_of(finished, [&](const FinishedStart& start) {
      return start.point == key && start.repetition == todo.repetition &&
             (start.status == runtime::kDone || !options_.flag("retry-failed"));
    });
  }

  /// Whether a start of the same point was refused, in which case no repetition of it can help.
  [[nodiscard]] bool refused(const std::vector<FinishedStart>& finished, const Todo& todo) const {
    const std::string key = key_of(plan_.points[todo.point], study_);
    return std::ranges::any_of(finished, [&](const FinishedStart& start) {
      return start.point == key && start.status == runtime::kUsage &&
             start.repetition != todo.repetition;
    });
  }

  void say(const FinishedStart& finished, int number, std::size_t of, const Todo& todo) const {
    const bool good = finished.status == runtime::kDone;
    context_.reporter.line(
        "study: " + std::to_string(number) + " of " + std::to_string(of) + ": " + finished.point +
        ", repetition " + std::to_string(todo.repetition + 1) +
        (good ? ""
              : " failed: status " + std::to_string(finished.status) + ", " + finished.message) +
        ", " + decimal(finished.wall_s, 1) + " s");
  }

  void finish(const StudyFolder& folder, const StudyResults& results, const std::string& began) {
    nlohmann::ordered_json json = {{"command", "study"},  {"version", version()},
                                   {"commit", commit()},  {"format", 1},
                                   {"name", study_.name}, {"again", again()},
                                   {"host", host_name()}, {"processor", processor_name()},
                                   {"began", began},      {"ended", now_utc()}};
    nlohmann::ordered_json rest = study_json(results);
    for (const auto& [key, value] : rest.items()) json[key] = value;
    folder.write("study.json", json.dump(1) + "\n");
    folder.write("study.csv", study_csv(results));
    if (context_.json.wanted()) {
      // The header of every result has command and version.
      for (const char* const key : {"command", "version"}) json.erase(key);
      context_.json.write(json);
    }
    print_study(results, context_.out);
    context_.out << "\nin " << options_.text("to")
                 << ": study.json, study.csv, points.jsonl, study.textproto\n";
  }

  int leave(const StudyResults& results, bool asked) const {
    if (asked) {
      context_.reporter.error("study: asked to leave by a signal, " +
                              std::to_string(results.starts_done) + " of " +
                              std::to_string(results.starts_wanted) +
                              " starts are done: the same command goes on from there");
      return runtime::kTemporary;
    }
    if (!results.other_digests.empty()) {
      context_.reporter.error(
          "study: the same work gave other digests, which no number of ranks "
          "and no placement may do");
      return runtime::kCheckFailed;
    }
    if (results.starts_failed == 0) return runtime::kDone;
    context_.reporter.error("study: " + std::to_string(results.starts_failed) + " of " +
                            std::to_string(results.starts_wanted) +
                            " starts failed, see the table; --retry-failed starts them once more");
    return runtime::kCheckFailed;
  }

  [[nodiscard]] std::string again() const {
    return "switchyard study " + options_.text("to") + "/study.textproto --to " +
           options_.text("to") + (options_.flag("oversubscribe") ? " --oversubscribe" : "");
  }

  Context& context_;
  const Options& options_;
  Study study_;
  runtime::study::StudyPlan plan_;
  StartSettings starts_;
};

int run(Context& context) {
  return StudyRun(context).run();
}
}  // namespace

Command study_command() {
  return {.name = "study",
          .summary = "scaling studies over real and simulated ranks, in one table; goes on",
          .needs_mpi = false,
          .options = study_options(),
          .positionals = {.unit = "FILE",
                          .help = "a study in protobuf text format (runtime/study/study.proto)",
                          .least = 0,
                          .most = 1},
          .run = run};
}
}  // namespace switchyard::launch
