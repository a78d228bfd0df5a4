// SPDX-License-Identifier: Apache-2.0
// switchyard COMMAND [options]: finds the command; guarded_main does the rest.
#include <algorithm>
#include <exception>
#include <google/protobuf/stubs/logging.h>
#include <unistd.h>

#include "launch/command.hpp"
#include "launch/guarded_main.hpp"
#include "launch/nearest.hpp"
#include "launch/version.hpp"
#include "runtime/model/nearest.hpp"
#include "runtime/status.hpp"

namespace {
using switchyard::launch::Command;

std::string overview(const std::vector<Command>& commands) {
  std::string text =
      "usage: switchyard COMMAND [options]\n       mpirun -n RANKS switchyard COMMAND [options]\n\n"
      "Expert-parallel Mixture-of-Experts runtime on MPI.\n\ncommands (* works without MPI):\n";
  std::size_t width = 0;
  for (const Command& command : commands) width = std::max(width, command.name.size());
  for (const Command& command : commands) {
    text += "  " + command.name + (command.needs_mpi ? " " : "*");
    text += std::string(width + 2 - command.name.size(), ' ') + command.summary + "\n";
  }
  return text +
         "\nswitchyard COMMAND --help  the command's options\n"
         "switchyard --version       the program's version\n";
}

/// The command that the first words name, and how many words that took.
struct Found {
  const Command* command = nullptr;
  std::size_t words = 0;
};

Found find(const std::vector<Command>& commands, const std::vector<std::string>& args) {
  Found found;
  for (const Command& command : commands) {
    const bool two = command.name.find(' ') != std::string::npos;
    if (args.size() < (two ? 2U : 1U)) continue;
    const std::string name = two ? args[0] + " " + args[1] : args[0];
    if (command.name == name && (two || found.command == nullptr)) {
      found = {.command = &command, .words = two ? 2U : 1U};
    }
  }
  return found;
}

/// Why no command was found: "verify: got 'gold', want golden or laws".
std::string complaint(const std::vector<Command>& commands, const std::vector<std::string>& args) {
  std::vector<std::string> first_words;
  std::vector<std::string> second_words;
  for (const Command& command : commands) {
    const std::size_t space = command.name.find(' ');
    first_words.push_back(command.name.substr(0, space));
    if (first_words.back() != args[0] || space == std::string::npos) continue;
    second_words.push_back(command.name.substr(space + 1));
  }
  if (second_words.empty()) {
    return "got '" + args[0] + "', want a command" +
           switchyard::launch::nearest_hint(args[0], first_words) +
           " (switchyard --help lists them)";
  }
  const std::string got = args.size() > 1 ? "'" + args[1] + "'" : "nothing";
  return args[0] + ": got " + got + ", want " + switchyard::runtime::one_of(second_words);
}

/// "models shwo": a first word that is a command, and a second that is meant to be one.
bool misspelt(const std::vector<Command>& commands, const std::vector<std::string>& args,
              const Found& found) {
  if (found.words == 2 || found.command->positionals.most > 0) return false;
  if (args.size() < 2 || args[1].starts_with("-")) return false;
  return std::ranges::any_of(
      commands, [&](const Command& command) { return command.name.starts_with(args[0] + " "); });
}

int print(const std::string& text, bool prints) {
  switchyard::launch::Results results(prints ? STDOUT_FILENO : -1);
  results << text;
  results.finish();
  return switchyard::runtime::kDone;
}

bool asks_for_help(const std::vector<std::string>& args) {
  for (const std::string& word : args) {
    if (word == "--") return false;
    if (word == "--help" || word == "-h") return true;
  }
  return false;
}

int start(const std::vector<std::string>& args, const std::vector<std::string>& environment,
          bool prints) {
  using namespace switchyard::launch;  // NOLINT(google-build-using-namespace): the program's own
  const std::vector<Command> all = commands();
  if (args.empty()) throw std::invalid_argument("got no command (switchyard --help lists them)");
  if (args[0] == "--version") return print("switchyard " + version() + "\n", prints);
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "help")
    return print(overview(all), prints);
  const Found found = find(all, args);
  if (found.command == nullptr && asks_for_help(args)) {
    std::string text;
    for (const Command& command : all) {
      if (command.name.starts_with(args[0] + " ")) text += help_text(command.syntax()) + "\n";
    }
    if (!text.empty()) return print(text, prints);
  }
  if (found.command == nullptr || misspelt(all, args, found)) {
    throw std::invalid_argument(complaint(all, args));
  }
  const std::vector<std::string> rest(args.begin() + static_cast<std::ptrdiff_t>(found.words),
                                      args.end());
  if (asks_for_help(rest)) return print(help_text(found.command->syntax()), prints);
  return guarded_main(*found.command, rest, environment);
}
}  // namespace

int main(int argc, char** argv) {
  switchyard::launch::prepare_descriptors();
  google::protobuf::SetLogHandler(nullptr);  // what it refuses is said in a line of ours
  const std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  const bool prints = switchyard::launch::launched_as(environment).rank == 0;
  try {
    return start(args, environment, prints);
  } catch (const std::exception& error) {
    if (!prints) return switchyard::runtime::kDone;  // rank 0 has the word, and the status
    switchyard::launch::Reporter().error(error.what());
    return switchyard::runtime::status_of(error);
  }
}
