// SPDX-License-Identifier: Apache-2.0
// F2: a random rank of four is killed while a run saves itself, again and again, each time in the
// run that goes on from what the last one left. After every kill the newest saved step has to be
// good, no older than what was there before the kill, and hold what an undisturbed run holds at
// that step.
//
//   killed_saving [COUNT=300] [SEED=1]
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "runtime/checkpoint/stored.hpp"
#include "runtime/checkpoint/verify.hpp"

namespace {
using namespace switchyard;  // NOLINT(google-build-using-namespace): a program of its own
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kSteps = 300;
constexpr int kRanks = 4;

std::vector<std::string> words(const std::string& program, int ranks, const std::string& folder,
                               const std::string& save, const std::string& keep) {
  const std::string line = "mpirun -q --oversubscribe --mca odls_base_sigkill_timeout 0 -n " +
                           std::to_string(ranks) + " " + program +
                           " run --stateful --model deepseek-v3 --set hidden_size=96 --set "
                           "moe_intermediate_size=80 --set shared_intermediate_size=40 --set "
                           "routed_experts=8 --set n_group=4 --set topk_group=4 --set top_k=3 "
                           "--layers 2 --tokens 67 --warmup 0 --save-every 1 --json - --steps " +
                           std::to_string(kSteps) + " --save " + save + " --keep " + keep +
                           " --save-to " + folder;
  std::vector<std::string> all;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    all.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return all;
}

pid_t start(std::vector<std::string> line, const std::string& log) {
  std::vector<char*> pointers;
  for (std::string& word : line) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start mpirun");
  return pid;
}

int status_of(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string text_of(const std::string& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The ranks of a job, by their parent.
std::vector<pid_t> ranks_of(pid_t job) {
  std::vector<pid_t> ranks;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = text_of("/proc/" + name + "/stat");
    const std::size_t end = stat.rfind(')');
    if (end == std::string::npos) continue;
    if (std::atoi(stat.c_str() + std::min(end + 4, stat.size())) == job) {
      ranks.push_back(static_cast<pid_t>(std::stol(name)));
    }
  }
  return ranks;
}

struct Seen {
  std::int64_t newest = 0;       ///< saved step
  std::set<std::string> stages;  ///< on their way, or left behind by a killed job
};
Seen look(const std::string& folder) {
  Seen seen;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(folder, gone)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(".stage-")) seen.stages.insert(name);
    if (name.starts_with("step-")) seen.newest = std::max(seen.newest, std::stol(name.substr(5)));
  }
  return seen;
}

class Trials {
 public:
  Trials(std::string program, std::uint64_t seed)
      : program_(std::move(program)),
        random_(seed),
        files_(runtime::posix_file_system()),
        work_(fs::temp_directory_path() / ("killed-saving-" + std::to_string(::getpid()))),
        folder_(work_ + "/saved") {
    fs::create_directories(work_);
    const std::string whole = work_ + "/whole";
    const int status =
        status_of(start(words(program_, 1, whole, "sync", std::to_string(kSteps)), log()));
    if (status != 0) throw std::runtime_error("the undisturbed run failed: " + text_of(log()));
    end_ = end_of(text_of(log()));
    for (const std::int64_t step : runtime::saved_steps(*files_, whole)) {
      contents_[step] = content_of(whole, step);
    }
    if (contents_.size() != static_cast<std::size_t>(kSteps)) {
      throw std::runtime_error("the undisturbed run has not saved every step");
    }
  }
  ~Trials() { fs::remove_all(work_); }
  Trials(const Trials&) = delete;
  Trials& operator=(const Trials&) = delete;

  /// One kill. @return  what is wrong; empty: nothing
  std::string kill_one() {
    if (look(folder_).newest > kSteps - 100) fs::remove_all(folder_);
    fs::create_directories(folder_);
    const Seen before = look(folder_);
    const std::string save = random_() % 2 == 0 ? "async" : "sync";
    const pid_t job = start(words(program_, kRanks, folder_, save, "2"), log());
    const auto limit = Clock::now() + std::chrono::seconds(40);
    while (!begun(before)) {
      if (Clock::now() > limit) {
        end(job);
        if (!text_of(log()).empty()) return "nothing was saved in 40 s: " + text_of(log());
        ++never_started_;  // inside MPI_Init: no rank of ours has said or done a thing
        return kill_one();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 60000));
    const std::vector<pid_t> ranks = ranks_of(job);
    const Seen seen = look(folder_);
    if (!ranks.empty()) ::kill(ranks[random_() % ranks.size()], SIGKILL);
    const int status = status_of(job);
    if (status == 0) return "the run ended before it was killed";
    saving_ += std::ranges::includes(before.stages, seen.stages) ? 0 : 1;
    return check(seen.newest);
  }

  /// The run to its end. @return  what is wrong; empty: nothing
  std::string finish() {
    const int status = status_of(start(words(program_, 3, folder_, "async", "2"), log()));
    if (status != 0) return "the last run failed: " + text_of(log());
    return end_of(text_of(log())) == end_ ? "" : "the end is another one: " + text_of(log());
  }
  [[nodiscard]] int saving() const { return saving_; }
  [[nodiscard]] int never_started() const { return never_started_; }

 private:
  [[nodiscard]] std::string log() const { return work_ + "/log"; }
  [[nodiscard]] std::string content_of(const std::string& folder, std::int64_t step) {
    return runtime::StoredCheckpoint(*files_, folder, step).manifest().content_sha256;
  }
  /// Whether the job that was started has begun to save.
  [[nodiscard]] bool begun(const Seen& before) const {
    const Seen now = look(folder_);
    return now.newest > before.newest || !std::ranges::includes(before.stages, now.stages);
  }
  static void end(pid_t job) {
    const std::vector<pid_t> ranks = ranks_of(job);
    ::kill(job, SIGKILL);
    for (const pid_t rank : ranks) ::kill(rank, SIGKILL);
    static_cast<void>(status_of(job));
  }
  /// Both digests of a result.
  static std::string end_of(const std::string& json) {
    std::string found;
    for (const std::string name : {"\"output_digest\": ", "\"state_digest\": "}) {
      const std::size_t at = json.find(name);
      if (at == std::string::npos) return "no result";
      found += json.substr(at, name.size() + 66);
    }
    return found;
  }
  std::string check(std::int64_t at_least) {
    const auto steps = runtime::saved_steps(*files_, folder_);
    if (steps.empty()) return at_least == 0 ? "" : "no step is left";
    if (steps[0] < at_least) {
      return "the newest is " + std::to_string(steps[0]) + ", " + std::to_string(at_least) +
             " was there";
    }
    for (const std::int64_t step : steps) {
      const auto verdict = runtime::verify_checkpoint(*files_, folder_, step);
      if (!verdict.good()) return verdict.findings[0].words;
      if (content_of(folder_, step) != contents_.at(step)) {
        return "step " + std::to_string(step) + " holds something else";
      }
    }
    return "";
  }

  std::string program_;
  std::mt19937_64 random_;
  std::unique_ptr<runtime::FileSystem> files_;
  std::string work_;
  std::string folder_;
  std::string end_;
  std::map<std::int64_t, std::string> contents_;  ///< of the undisturbed run, by step
  int saving_ = 0;
  int never_started_ = 0;
};

int run(int argc, char** argv) {
  const int count = argc > 1 ? std::stoi(argv[1]) : 300;
  const std::uint64_t seed = argc > 2 ? std::stoull(argv[2]) : 1;
  Trials trials(SWITCHYARD_PROGRAM, seed);
  int good = 0;
  for (int i = 0; i < count; ++i) {
    const std::string problem = trials.kill_one();
    if (problem.empty()) {
      ++good;
    } else {
      std::printf("F2: kill %d, seed %llu: %s\n", i, static_cast<unsigned long long>(seed),
                  problem.c_str());
    }
  }
  const std::string problem = trials.finish();
  if (!problem.empty()) std::printf("F2: %s\n", problem.c_str());
  std::printf(
      "F2: %d of %d kills of one of %d ranks recovered, %d of them while a save was on its way; "
      "the run that went on from the last ended %s; %d starts hung inside MPI_Init and were not "
      "counted\n",
      good, count, kRanks, trials.saving(), problem.empty() ? "as the undisturbed one" : "wrong",
      trials.never_started());
  return good == count && problem.empty() ? 0 : 1;
}
}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "killed_saving: %s\n", error.what());
    return 70;
  }
}
