// SPDX-License-Identifier: Apache-2.0
// The simulation is a program of its own, for a program can have only one MPI: this starts it.
#include <cerrno>
#include <filesystem>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

#include "launch/commands/all.hpp"
#include "launch/commands/simulate_options.hpp"
#include "launch/commands/simulator.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
std::string simulator_program(const std::string& who) {
  const auto program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "switchyard-sim";
  if (std::filesystem::exists(program)) return program;
  throw std::invalid_argument(
      who + ": got no " + program.string() +
      ", want one: install libsimgrid-dev (SimGrid 3.32 or newer) and build once more");
}

namespace {
/// The settings as words again.
std::vector<std::string> words_of(const Options& options) {
  std::vector<std::string> words{simulator_program("simulate")};
  for (const Option& option : simulate_options()) {
    if (option.list) {
      for (const std::string& value : options.list(option.name)) {
        words.push_back("--" + option.name + "=" + value);
      }
    } else if (option.kind == Kind::kFlag) {
      if (options.flag(option.name)) words.push_back("--" + option.name);
    } else if (options.has(option.name)) {
      std::string value;
      if (option.kind == Kind::kInteger) {
        value = std::to_string(options.integer(option.name));
      } else if (option.kind == Kind::kReal) {
        value = std::to_string(options.real(option.name));
      } else {
        value = options.text(option.name);
      }
      words.push_back("--" + option.name + "=" + value);
    }
  }
  if (options.has("json")) words.push_back("--json=" + options.text("json"));
  return words;
}

int run(Context& context) {
  std::vector<std::string> words = words_of(context.options);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (const int error = ::posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ);
      error != 0) {
    throw std::system_error(error, std::generic_category(), "simulate: cannot start " + words[0]);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "simulate");
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  throw std::runtime_error("simulate: " + words[0] + " was ended by signal " +
                           std::to_string(WTERMSIG(status)));
}

std::vector<comm::Field> prepare(const Options& options) {
  static_cast<void>(simulate_settings(options));
  return {};
}
}  // namespace

Command simulate_command() {
  return {.name = "simulate",
          .summary = "what run would do on another machine, with its ranks simulated",
          .needs_mpi = false,
          .options = simulate_options(),
          .prepare = prepare,
          .run = run};
}
}  // namespace switchyard::launch
