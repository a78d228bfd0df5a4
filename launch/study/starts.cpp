// SPDX-License-Identifier: Apache-2.0
#include "launch/study/starts.hpp"

#include <filesystem>
#include <utility>

#include "launch/commands/bench_report.hpp"
#include "launch/commands/simulator.hpp"
#include "launch/supervise/launcher.hpp"
#include "launch/supervise/policy.hpp"
#include "runtime/status.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::launch {
namespace {
using runtime::study::Point;
using runtime::study::RankKind;

/// The flags that run and simulate have in common.
void add_work(const runtime::study::Study& study, const Point& point,
              std::vector<std::string>& words) {
  const auto add = [&](const std::string& name, const std::string& value) {
    words.push_back("--" + name + "=" + value);
  };
  add("model", study.model);
  for (const std::string& assignment : set_of(study, point)) add("set", assignment);
  add("layers", std::to_string(study.layers));
  if (point.tokens >= 0) add("tokens", std::to_string(point.tokens));
  add("steps", std::to_string(study.steps));
  add("seed", std::to_string(study.seed));
  add("weights", study.weights);
  add("math", study.math);
  add("routing", point.routing);
  add("placement", point.placement);
  add("transport", study.transport);
}

/// What a start that failed has to say for itself.
/// @param said  on stderr, beside errors of ours
std::string message_of(const JobResult& job, const std::vector<std::string>& said, double limit_s) {
  if (job.late) {
    return "took longer than " + figure(limit_s) + " s (--start-seconds), and was killed";
  }
  std::string words = job.words.empty() ? "ended without a word" : job.words;
  if (!words.starts_with("mpirun left")) return words;
  // It was mpirun that could not, and it says why in its first line.
  for (const std::string& line : said) {
    if (line.find_first_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos) {
      return words + ": " + line;
    }
  }
  return words;
}
}  // namespace

PointStarter::PointStarter(const runtime::study::Study& study, StartSettings settings)
    : study_(study), settings_(std::move(settings)) {}

std::vector<std::string> PointStarter::real_words(const Point& point) const {
  std::vector<std::string> words = launcher_words(settings_.mpirun, folder_.path(), point.ranks);
  if (settings_.oversubscribe) words.emplace_back("--oversubscribe");
  for (const std::string& word : settings_.mpirun_options) words.push_back(word);
  words.push_back(std::filesystem::read_symlink("/proc/self/exe").string());
  words.emplace_back("run");
  add_work(study_, point, words);
  words.push_back("--warmup=" + std::to_string(study_.warmup));
  return words;
}

std::vector<std::string> PointStarter::simulated_words(const Point& point) const {
  std::vector<std::string> words{simulator_program("study")};
  add_work(study_, point, words);
  words.push_back("--machine=" + study_.machines[static_cast<std::size_t>(point.machine)]);
  words.push_back("--ranks=" + std::to_string(point.ranks));
  if (point.kind == RankKind::kFast) words.emplace_back("--fast");
  return words;
}

std::vector<std::string> PointStarter::words_of(const Point& point) const {
  return point.kind == RankKind::kReal ? real_words(point) : simulated_words(point);
}

FinishedStart PointStarter::run(const Point& point, int repetition, SignalQueue& signals,
                                bool& asked) {
  folder_.clear();
  const std::string result_file = folder_.path() / "result.json";
  JobSettings settings;
  settings.words = words_of(point);
  settings.words.push_back("--json=" + result_file);
  settings.ranks = point.kind == RankKind::kReal ? point.ranks : 1;
  settings.grace_s = 10;
  settings.limit_s = settings_.limit_s;
  settings.silent = true;
  std::vector<std::string> said;
  settings.say = [&](std::string_view line) {
    said.emplace_back(line);
    if (said_.emplace(line).second && settings_.say) settings_.say(line);
  };
  const JobResult job = run_job(settings, signals);
  asked = job.asked;
  FinishedStart finished{.point = key_of(point, study_),
                         .repetition = repetition,
                         .status = program_status(job.mpirun_status, job.lost),
                         .message = {},
                         .wall_s = job.seconds};
  if (finished.status == runtime::kDone) {
    try {
      finished.result = nlohmann::ordered_json::parse(runtime::read_text(result_file));
    } catch (const std::exception& error) {
      finished.status = runtime::kInternal;
      finished.message = std::string("its result cannot be read: ") + error.what();
    }
  } else {
    finished.message = message_of(job, said, settings_.limit_s);
  }
  return finished;
}
}  // namespace switchyard::launch
