// SPDX-License-Identifier: Apache-2.0
// switchyard supervise [options] -- COMMAND [options]: keeps a job alive from checkpoint to
// checkpoint.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <unistd.h>

#include "launch/commands/all.hpp"
#include "launch/guarded_main.hpp"
#include "launch/supervise/hosts.hpp"
#include "launch/supervise/job.hpp"
#include "launch/supervise/launcher.hpp"
#include "launch/supervise/leftovers.hpp"
#include "launch/supervise/policy.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
namespace fs = std::filesystem;

/// --save-to of the job, wherever it was given; "" if it was not.
std::string save_folder(const std::vector<std::string>& words) {
  constexpr std::string_view kFlag = "--save-to";
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == kFlag && i + 1 < words.size()) return words[i + 1];
    if (words[i].starts_with(std::string(kFlag) + "=")) return words[i].substr(kFlag.size() + 1);
  }
  const char* const value = std::getenv("SWITCHYARD_SAVE_TO");
  return value == nullptr ? "" : value;
}

/// The name of the newest committed step; "" if there is none.
std::string newest_step(const std::string& folder) {
  std::string newest;
  std::error_code ignored;
  if (folder.empty()) return newest;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-")) newest = std::max(newest, name);
  }
  return newest;
}

/// Everything that stays the same from attempt to attempt, and the hosts, which may not.
class Supervisor {
 public:
  explicit Supervisor(Context& context)
      : context_(context),
        options_(context.options),
        policy_({.max_restarts = options_.integer("max-restarts"),
                 .first_backoff_s = options_.real("backoff"),
                 .most_backoff_s = std::max(options_.real("backoff"), 30.0),
                 .same_step = options_.integer("same-step-failures")}),
        launcher_(find_launcher("supervise", options_.text("mpirun"))),
        words_(options_.positionals()),
        save_to_(save_folder(words_)) {
    require_root_opted_in("supervise");
    if (options_.has("hosts")) hosts_ = hosts_from(options_.text("hosts"));
    if (options_.flag("shrink-on-loss") && hosts_.empty()) {
      throw std::invalid_argument(
          "--shrink-on-loss: got no --hosts, want the list that may shrink");
    }
    if (!options_.has("ranks") && hosts_.empty()) {
      throw std::invalid_argument("supervise: got no --ranks, want how many, or --hosts");
    }
    ranks_ = options_.has("ranks") ? static_cast<int>(options_.integer("ranks")) : slots_of(hosts_);
  }

  int run() {
    adopt_orphans();
    SignalQueue signals;
    const RunFolder folder;
    std::string saved = newest_step(save_to_);
    auto gone = std::chrono::steady_clock::now();
    for (std::int64_t incarnation = 0;; ++incarnation) {
      const double away_s =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - gone).count();
      const JobResult result = run_job(job(folder, incarnation), signals);
      gone = std::chrono::steady_clock::now();
      folder.clear();
      const std::string now_saved = newest_step(save_to_);
      const Ending ending{.status = program_status(result.mpirun_status, result.lost),
                          .step = result.step,
                          .committed = now_saved != saved,
                          .started = result.started || options_.flag("shrink-on-loss"),
                          .asked = result.asked};
      saved = now_saved;
      note(result, ending.status, saved, away_s);
      Decision decision = policy_.decide(ending);
      if (!result.started && !decision.again && ending.status != runtime::kDone && !ending.asked) {
        decision.status = runtime::kUsage;
      }
      if (decision.again) {
        context_.reporter.warning("supervise: " + result.words + "; start " +
                                  std::to_string(incarnation + 2) + " follows" +
                                  (saved.empty() ? "" : ", from " + saved));
        if (signals.wait(decision.wait_s) != 0) {
          decision = {
              .again = false, .wait_s = 0, .status = runtime::kTemporary, .why = "asked to leave"};
        }
      }
      if (decision.again) {
        shrink();
        continue;
      }
      return leave(decision, result);
    }
  }

 private:
  [[nodiscard]] JobSettings job(const RunFolder& folder, std::int64_t incarnation) const {
    JobSettings settings;
    settings.words = launcher_words(launcher_, folder.path(), ranks_);
    if (!hosts_.empty()) {
      settings.words.insert(settings.words.end(), {"--host", list_of(hosts_), "-x", kBoardVariable,
                                                   "-x", kIncarnationVariable});
    }
    for (const std::string& word : options_.list("mpirun-option")) settings.words.push_back(word);
    settings.words.push_back(fs::read_symlink("/proc/self/exe").string());
    settings.words.insert(settings.words.end(), words_.begin(), words_.end());
    settings.environment = {std::string(kIncarnationVariable) + "=" + std::to_string(incarnation)};
    settings.ranks = ranks_;
    settings.grace_s = options_.real("grace");
    settings.say = [this](std::string_view text) { context_.reporter.line(text); };
    return settings;
  }

  void shrink() {
    if (!options_.flag("shrink-on-loss")) return;
    const std::vector<Host> left = reachable(hosts_, options_.text("probe"));
    if (left.size() == hosts_.size() || left.empty()) return;
    hosts_ = left;
    ranks_ = std::min(ranks_, slots_of(hosts_));
    context_.reporter.warning("supervise: hosts are lost; " + std::to_string(ranks_) +
                              " ranks go on, on " + list_of(hosts_));
  }

  /// @param away_s  from the end of the attempt before to the start of this one
  void note(const JobResult& result, int status, const std::string& saved, double away_s) {
    attempts_.push_back(
        {{"status", status},
         {"mpirun_status", result.mpirun_status},
         {"ranks", ranks_},
         {"seconds", result.seconds},
         {"seconds_to_first_step", result.first_step_s < 0 ? -1 : away_s + result.first_step_s},
         {"step", result.step},
         {"rank", result.rank},
         {"phase", result.phase},
         {"words", result.words},
         {"newest_checkpoint", saved}});
  }

  int leave(const Decision& decision, const JobResult& last) {
    if (context_.json.wanted()) {
      context_.json.write({{"status", decision.status},
                           {"why", decision.why},
                           {"restarts", static_cast<std::int64_t>(attempts_.size()) - 1},
                           {"attempts", attempts_}});
    }
    if (decision.status != runtime::kDone && !last.words.empty()) {
      context_.reporter.error(last.words + (decision.why.empty() ? "" : " (" + decision.why + ")"));
    }
    return decision.status;
  }

  Context& context_;
  const Options& options_;
  Policy policy_;
  std::string launcher_;
  std::vector<std::string> words_;
  std::string save_to_;
  std::vector<Host> hosts_;
  int ranks_ = 1;
  nlohmann::ordered_json attempts_ = nlohmann::ordered_json::array();
};

int run(Context& context) {
  return Supervisor(context).run();
}
}  // namespace

Command supervise_command() {
  return {.name = "supervise",
          .summary = "starts mpirun, and again from the last checkpoint when the job fails",
          .options = {integer_option("ranks", "COUNT", "to start; none: the slots of --hosts",
                                     std::nullopt, {.least = 1, .most = 1 << 20}),
                      text_option("hosts", "NAME:SLOTS,...", "where; none: as mpirun decides"),
                      flag_option("shrink-on-loss", "goes on with fewer ranks when a host is gone"),
                      text_option("probe", "COMMAND",
                                  "succeeds while a host is there; {} stands for its name",
                                  "ssh -o BatchMode=yes -o ConnectTimeout=5 {} true"),
                      integer_option("max-restarts", "COUNT",
                                     "starts without a new checkpoint in between", 10),
                      real_option("backoff", "SECONDS",
                                  "before the first restart; doubles up to 30", 0.1),
                      integer_option("same-step-failures", "COUNT",
                                     "in one step until it counts as poison; 0: never", 3),
                      real_option("grace", "SECONDS",
                                  "to save and leave, when asked, before the job is killed", 60),
                      text_option("mpirun", "PROGRAM", "the launcher", "mpirun"),
                      list_option("mpirun-option", "WORD", "handed to it, any number of times")},
          .positionals = {.unit = "WORD",
                          .help = "a command of this program and its options",
                          .least = 1,
                          .most = 1 << 20,
                          .behind_dashes = true},
          .run = run};
}
}  // namespace switchyard::launch
