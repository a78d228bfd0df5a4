// SPDX-License-Identifier: Apache-2.0
#include "launch/supervise/leftovers.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "comm/watch/watch_board.hpp"

namespace switchyard::launch {
namespace {
namespace fs = std::filesystem;

std::string prefix() {
  return "switchyard-supervise-" + std::to_string(::getuid()) + "-";
}

fs::path base_folder() {
  if (::access("/dev/shm", W_OK | X_OK) == 0) return "/dev/shm";
  return fs::temp_directory_path();
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::error_code ignored;
  for (const auto& task :
       fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", ignored)) {
    std::ifstream file(task.path() / "children");
    for (pid_t child = 0; file >> child;) children.push_back(child);
  }
  return children;
}

/// Kills every descendant that has not ended. Deepest last, so that none is started meanwhile.
int kill_below(pid_t pid) {
  int killed = 0;
  for (const pid_t child : children_of(pid)) {
    char state = 'X';
    static_cast<void>(comm::process_start(child, state));
    if (state != 'Z' && state != 'X' && ::kill(child, SIGKILL) == 0) ++killed;
    killed += kill_below(child);
  }
  return killed;
}
}  // namespace

int sweep_leftovers(const fs::path& base) {
  int swept = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(base, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix())) continue;
    long long pid = 0;
    long long start = 0;
    if (std::sscanf(name.c_str() + prefix().size(), "%lld-%lld", &pid, &start) != 2) continue;
    char state = 'X';
    if (comm::process_start(pid, state) == start && state != 'Z') continue;
    fs::remove_all(entry.path(), ignored);
    ++swept;
  }
  return swept;
}

RunFolder::RunFolder() {
  const fs::path base = base_folder();
  sweep_leftovers(base);
  char state = '?';
  const auto start = comm::process_start(::getpid(), state);
  path_ = base / (prefix() + std::to_string(::getpid()) + "-" + std::to_string(start));
  fs::create_directory(path_);
  fs::permissions(path_, fs::perms::owner_all);
}

RunFolder::~RunFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void RunFolder::clear() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path_, ignored)) {
    fs::remove_all(entry.path(), ignored);
  }
}

void adopt_orphans() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

Children children_alive(int pid) {
  Children children;
  for (const pid_t child : children_of(pid)) {
    char state = 'X';
    static_cast<void>(comm::process_start(child, state));
    ++children.all;
    if (state != 'Z' && state != 'X') ++children.alive;
  }
  return children;
}

bool sleeps(int pid) {
  std::error_code ignored;
  for (const auto& task :
       fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", ignored)) {
    char state = 'X';
    static_cast<void>(comm::process_start(std::atoll(task.path().filename().c_str()), state));
    if (state != 'S') return false;
  }
  return true;
}

int end_descendants() {
  int killed = 0;
  while (true) {
    killed += kill_below(::getpid());
    int state = 0;
    const pid_t ended = ::waitpid(-1, &state, WNOHANG);
    if (ended < 0 && errno == ECHILD) return killed;
    // Whoever is in the kernel's hands (a dead disk) is waited for: two runs at once are worse.
    if (ended == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}
}  // namespace switchyard::launch
