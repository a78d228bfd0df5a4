// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Starts a program as a user would, alone or under mpirun, and hands back what it said.
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace switchyard::tests {

/// How a program is started.
struct Start {
  std::vector<std::string> words;             ///< program and arguments, as a shell would see them
  std::vector<std::string> environment = {};  ///< "NAME=VALUE", beside this process's own
  std::string stdout_file = {};               ///< "" captures; "-" closes; else a file: "/dev/full"
  std::chrono::milliseconds limit = std::chrono::seconds(40);
};

/// How it ended.
struct Outcome {
  int status = -1;  ///< exit status; 128 + signal if it was killed
  bool timed_out = false;
  std::string out;
  std::string err;

  /// Lines of stderr with these words in them.
  [[nodiscard]] int err_lines(const std::string& words) const {
    int count = 0;
    std::size_t begin = 0;
    while (begin < err.size()) {
      const std::size_t end = std::min(err.find('\n', begin), err.size());
      if (err.substr(begin, end - begin).find(words) != std::string::npos) ++count;
      begin = end + 1;
    }
    return count;
  }
};

/// `switchyard ARGS`.
inline std::vector<std::string> switchyard(std::vector<std::string> args) {
  args.insert(args.begin(), SWITCHYARD_PROGRAM);
  return args;
}

/// `mpirun -n RANKS WORDS`. For several programs in one job, join more of these with ":".
inline std::vector<std::string> mpirun(int ranks, const std::vector<std::string>& words) {
  std::vector<std::string> line{"mpirun", "--oversubscribe", "-n", std::to_string(ranks)};
  line.insert(line.end(), words.begin(), words.end());
  return line;
}

/// `mpirun -n 1 A : -n 1 B`: ranks 0 and 1 are started differently.
inline std::vector<std::string> mpirun_two(const std::vector<std::string>& first,
                                           const std::vector<std::string>& second) {
  std::vector<std::string> line = mpirun(1, first);
  for (const char* word : {":", "-n", "1"}) line.emplace_back(word);
  line.insert(line.end(), second.begin(), second.end());
  return line;
}

namespace detail {
/// This process's environment without what a launcher or an earlier test left in it.
inline std::vector<std::string> clean_environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    bool keep = true;
    for (const char* prefix : {"SWITCHYARD_", "OMPI_COMM_WORLD_", "PMIX_", "PMI_", "SLURM_"}) {
      keep = keep && !text.starts_with(prefix);
    }
    if (keep) entries.push_back(text);
  }
  entries.emplace_back("OMPI_ALLOW_RUN_AS_ROOT=1");
  entries.emplace_back("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
  return entries;
}

inline std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

inline void check(int error, const char* what) {
  if (error != 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(error));
}

/// Reads both pipes to their ends, or until the limit. Returns false at the limit.
inline bool drain(std::array<pollfd, 2>& pipes, std::array<std::string*, 2> texts,
                  std::chrono::steady_clock::time_point limit) {
  while (pipes[0].fd >= 0 || pipes[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        limit - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (::poll(pipes.data(), pipes.size(), static_cast<int>(left.count())) < 0) continue;
    for (std::size_t i = 0; i < pipes.size(); ++i) {
      if (pipes[i].fd < 0 || pipes[i].revents == 0) continue;
      std::array<char, 4096> piece{};
      const ssize_t count = ::read(pipes[i].fd, piece.data(), piece.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        ::close(pipes[i].fd);
        pipes[i].fd = -1;
      } else {
        texts[i]->append(piece.data(), static_cast<std::size_t>(count));
      }
    }
  }
  return true;
}
}  // namespace detail

/// Starts it, waits for its end and for the end of its output. Past the limit it is killed, with
/// everything in its process group.
inline Outcome run(Start start) {
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  detail::check(::pipe2(out.data(), O_CLOEXEC) == 0 ? 0 : errno, "pipe");
  detail::check(::pipe2(err.data(), O_CLOEXEC) == 0 ? 0 : errno, "pipe");

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  detail::check(posix_spawn_file_actions_init(&files), "posix_spawn_file_actions_init");
  detail::check(posix_spawnattr_init(&attributes), "posix_spawnattr_init");
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, err[1], STDERR_FILENO);
  if (start.stdout_file.empty()) {
    posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
  } else if (start.stdout_file == "-") {
    posix_spawn_file_actions_addclose(&files, STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, start.stdout_file.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0644);
  }
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);

  std::vector<std::string> environment = detail::clean_environment();
  environment.insert(environment.end(), start.environment.begin(), start.environment.end());
  const std::vector<char*> words = detail::pointers(start.words);
  const std::vector<char*> variables = detail::pointers(environment);
  pid_t child = -1;
  const int error =
      posix_spawnp(&child, words[0], &files, &attributes, words.data(), variables.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  ::close(out[1]);
  ::close(err[1]);
  detail::check(error, start.words.front().c_str());

  Outcome outcome;
  std::array<pollfd, 2> pipes{pollfd{.fd = out[0], .events = POLLIN, .revents = 0},
                              pollfd{.fd = err[0], .events = POLLIN, .revents = 0}};
  const auto limit = std::chrono::steady_clock::now() + start.limit;
  if (!detail::drain(pipes, {&outcome.out, &outcome.err}, limit)) {
    outcome.timed_out = true;
    ::kill(-child, SIGKILL);
    for (const pollfd& pipe : pipes) {
      if (pipe.fd >= 0) ::close(pipe.fd);
    }
  }
  int state = 0;
  while (::waitpid(child, &state, 0) < 0 && errno == EINTR) continue;
  outcome.status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  return outcome;
}
}  // namespace switchyard::tests
