// SPDX-License-Identifier: Apache-2.0
/// @file
/// F5: every call of a save fails once, in every way that such a call can. Interrupted and
/// shortened ones must not be noticed; others may cost this save, told in one line, and nothing
/// else.
#include <cerrno>
#include <cstring>

#include "comm/group/local_group.hpp"
#include "tests/faults/campaign.hpp"
#include "tests/faults/memory_files.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::faults;
using store_tests::State;

const std::string kFolder = "/ckpt";

struct Way {
  const char* name;
  int code;  ///< as Trouble says it
};
constexpr Way kWays[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO},           {"EDQUOT", EDQUOT},
                         {"EMFILE", EMFILE}, {"EROFS", EROFS},       {"EACCES", EACCES},
                         {"EINTR", EINTR},   {"short", kShort + 100}};

bool can_be(const std::string& call, const Way& way) {
  if (way.code >= kShort) return call == "pwrite" || call == "pread";
  return true;
}

/// Two steps are saved, and the third, which takes the first away, meets the trouble.
struct Site {
  std::string call;
  std::string path;
};

struct Outcome {
  std::vector<Site> sites;  ///< of the third save, in order
  bool saved = false;
  std::string problem;
  std::vector<std::string> notes;
};

Outcome run_saves(MemoryFiles& files, std::int64_t failing, const Way& way) {
  Outcome outcome;
  const auto group = comm::solo_group();
  runtime::CheckpointStore store(
      *group, files, kFolder,
      {.run_id = "r", .note = [&](const std::string& note) { outcome.notes.push_back(note); }});
  const auto save = [&](std::int64_t step) {
    const State state(step);
    return store.save(state.info(), state.pieces(*group));
  };
  for (const std::int64_t step : {1, 2}) {
    if (!save(step).saved) throw std::runtime_error("a save without trouble failed");
  }
  files.trouble([&](const std::string& call, const std::string& path) {
    outcome.sites.push_back({call, path});
    return static_cast<std::int64_t>(outcome.sites.size()) - 1 == failing && can_be(call, way)
               ? way.code
               : 0;
  });
  const auto result = save(3);
  outcome.saved = result.saved;
  outcome.problem = result.problem;
  store.tidy();
  files.trouble({});
  if (!save(4).saved) throw std::runtime_error("the save after it failed");
  return outcome;
}

/// What is wrong afterwards; empty: nothing.
std::string broken(MemoryFiles& files, const Outcome& outcome, const Way& way, const Site& site) {
  const bool harmless = way.code == EINTR || way.code >= kShort;
  if (harmless && !outcome.saved) return "the save failed: " + outcome.problem;
  if (!outcome.saved) {
    if (outcome.notes.size() != 1) return std::to_string(outcome.notes.size()) + " notes, want 1";
    if (outcome.problem.find(std::strerror(way.code)) == std::string::npos ||
        outcome.problem.find(kFolder) == std::string::npos) {
      return "says neither what nor where: " + outcome.problem;
    }
  }
  std::vector<std::string> names;
  if (files.list(kFolder, names) != 0) return "no folder";
  for (const std::string& name : names) {
    if (name.starts_with(".")) return "left behind: " + name;
  }
  for (const std::int64_t step : runtime::saved_steps(files, kFolder)) {
    runtime::StoredCheckpoint stored(files, kFolder, step);
    const std::string words = State(step).differences(stored);
    if (!words.empty()) return "step " + std::to_string(step) + ": " + words;
  }
  const auto steps = runtime::saved_steps(files, kFolder);
  // Without the third, the second must have been left; what is renamed and not flushed may count.
  const bool second_or_third =
      steps.size() == 2 && steps[0] == 4 && (steps[1] == 3 || steps[1] == 2);
  if (!second_or_third) return "other steps than wanted are there";
  if (outcome.saved && steps[1] != 3) return "the third step was acknowledged and is gone";
  static_cast<void>(site);
  return {};
}
}  // namespace

int main(int argc, char** argv) {
  Campaign campaign(argc, argv, 1'000'000);  // at most; there are fewer
  MemoryFiles clean;
  const std::vector<Site> sites = run_saves(clean, -1, kWays[0]).sites;
  std::int64_t done = 0;
  std::int64_t saved = 0;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(sites.size()); ++i) {
    for (const Way& way : kWays) {
      const Site& site = sites[static_cast<std::size_t>(i)];
      if (!can_be(site.call, way) || done == campaign.cases()) continue;
      ++done;
      std::string wrong;
      try {
        MemoryFiles files;
        const Outcome outcome = run_saves(files, i, way);
        if (outcome.saved) ++saved;
        wrong = broken(files, outcome, way, site);
      } catch (const std::exception& error) {
        wrong = error.what();
      }
      if (!wrong.empty()) {
        campaign.fail(done, site.call + " " + site.path + ": " + way.name + ": " + wrong);
      }
    }
  }
  return campaign.end(std::to_string(sites.size()) + " calls of a save, " + std::to_string(done) +
                      " failures, " + std::to_string(saved) + " of them without harm to it");
}
