// SPDX-License-Identifier: Apache-2.0
#include "launch/guarded_main.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "comm/group/mpi_group.hpp"
#include "comm/watch/watch.hpp"
#include "launch/config.hpp"
#include "launch/version.hpp"
#include "runtime/faults/injector.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
/// However short the deadline: MPI starts many processes, which a loaded machine takes seconds for.
constexpr std::chrono::seconds kLeastForMpi{10};

/// What a rank knows before it talks to the others.
struct Start {
  std::optional<Options> options;
  std::vector<comm::Field> fields;
  std::optional<comm::Problem> problem;
};

Start parse(const Command& command, const std::vector<std::string>& args,
            const std::vector<std::string>& environment) {
  Start start;
  try {
    start.options = Options::parse(command.syntax(), args, environment);
    start.fields = {{"version", version()}, {"command", command.name}};
    std::map<std::string, int> seen;  // entries of a list: "set", "set 2", "set 3"
    for (const auto& [name, value] : start.options->canonical()) {
      const int number = ++seen[name];
      start.fields.push_back({number == 1 ? name : name + " " + std::to_string(number), value});
    }
    if (command.prepare != nullptr) {
      for (comm::Field& field : command.prepare(*start.options)) {
        start.fields.push_back(std::move(field));
      }
    }
  } catch (const std::exception& error) {
    start.problem = runtime::problem_of(error);
  }
  return start;
}

/// A flag is a boolean, a number a number, and a list or a positional an array, once named.
nlohmann::ordered_json settings_of(const Command& command, const Options& options) {
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  for (const Option& option : command.syntax().options) {
    if (option.output || option.name == "config" || !options.has(option.name)) continue;
    auto& setting = settings[option.name];
    if (option.list) {
      setting = options.list(option.name);
    } else if (option.kind == Kind::kInteger) {
      setting = options.integer(option.name);
    } else if (option.kind == Kind::kReal) {
      setting = options.real(option.name);
    } else if (option.kind == Kind::kFlag) {
      setting = options.flag(option.name);
    } else {
      setting = options.text(option.name);
    }
  }
  if (!options.positionals().empty()) {
    settings[command.positionals.unit] = options.positionals();
  }
  return settings;
}

nlohmann::ordered_json header_of(const Command& command, const Options& options, int ranks) {
  return {{"command", command.name},
          {"version", version()},
          {"ranks", ranks},
          {"options", settings_of(command, options)}};
}

bool json_on_stdout(const Options& options) {
  return options.has("json") && options.text("json") == "-";
}

void warn(const Reporter& reporter, const Options& options,
          const std::vector<std::string>& environment) {
  std::vector<std::string> names{"config", "deadline", "json", "board", "incarnation"};
  for (const Command& command : commands()) {
    for (const Option& option : command.options) names.push_back(option.name);
  }
  for (const std::string& name : config_options()) names.push_back(name);
  for (const auto& sentence : unknown_variables(environment, names)) reporter.warning(sentence);
  for (const auto& sentence : options.ignored()) reporter.warning(sentence);
}

/// The command with its output, from the first line to the last byte.
int run(const Command& command, const Start& start, const Reporter& reporter, bool prints,
        comm::Group* group, runtime::FaultInjector* faults = nullptr,
        std::function<void()> let_ranks_end = {}) {
  const Options& options = *start.options;
  Results results(prints ? STDOUT_FILENO : -1);
  Results nowhere(-1);
  JsonOutput json;
  const auto together = [&](const std::function<void()>& body) {
    if (group == nullptr) return body();
    runtime::together(*group, body);
  };
  const auto header = header_of(command, options, group == nullptr ? 1 : group->size());
  together([&] {
    if (prints && options.has("json")) json = {options.text("json"), results, header};
  });
  Context context{.options = options,
                  .out = json_on_stdout(options) ? nowhere : results,
                  .reporter = reporter,
                  .json = json,
                  .ranks = group,
                  .faults = faults,
                  .header = header,
                  .let_ranks_end = std::move(let_ranks_end)};
  int status = command.run(context);
  if (context.leaves_alone) {
    results.finish();
    comm::Environment::leave(status);
  }
  together([&] { results.finish(); });
  if (group == nullptr) return status;
  for (const auto& of_rank : comm::allgather_values<int>(*group, std::span(&status, 1))) {
    status = std::max(status, of_rank.front());
  }
  return status;
}

/// The value of NAME, or nothing.
std::string variable(const std::vector<std::string>& environment, const std::string& name) {
  for (const std::string& entry : environment) {
    if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
  }
  return "";
}

/// How often a supervisor has started this run again.
std::int64_t incarnation_of(const std::vector<std::string>& environment) {
  const std::string text = variable(environment, kIncarnationVariable);
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// One failure, one message: the first that fails has the word, and ends the job before the others
/// have spoken. Each node has a first of its own, so the others wait for that of the lowest.
void wait_for_the_first(comm::Watch& watch, comm::Group* group) {
  if (!watch.take_word()) std::this_thread::sleep_for(std::chrono::seconds(2));
  if (group == nullptr) return;
  const int node = group->nodes().node_of[static_cast<std::size_t>(group->rank())];
  std::this_thread::sleep_for(std::chrono::milliseconds(200 * std::min(node, 10)));
}

/// Set while a watch has a board: where a handler notes what this process dies of.
std::atomic<std::atomic<std::int32_t>*> dying_signal{nullptr};

void note_signal(int signal) {
  if (auto* const place = dying_signal.load()) place->store(signal);
  // The handler is gone with its first call (SA_RESETHAND): the signal comes again, and kills.
  std::raise(signal);
}

/// Instead of Open MPI's handlers, which print a page a rank.
void note_fatal_signals() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    ::sigaction(signal, &action, nullptr);
  }
}

/// A rank does not outlive the launcher that started it: mpirun cannot tell when it is killed.
void die_with_launcher() {
  std::ifstream name("/proc/" + std::to_string(::getppid()) + "/comm");
  std::string launcher;
  name >> launcher;
  if (launcher != "mpirun" && launcher != "mpiexec" && launcher != "orterun" &&
      launcher != "orted") {
    return;
  }
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) std::_Exit(runtime::kTemporary);  // it was too late
}

/// Ends the job because of an exception of this rank.
[[noreturn]] void fail(const std::exception& error, comm::Watch& watch, comm::Group* group,
                       const Reporter& reporter) {
  const int status = runtime::status_of(error);
  const bool late = dynamic_cast<const comm::DeadlineError*>(&error) != nullptr;
  if (!late || !watch.explain(error.what())) {
    // Who waits says for whom, each rank for itself, where there is no board.
    if (!late) wait_for_the_first(watch, group);
    const bool strange = dynamic_cast<const comm::ProtocolError*>(&error) != nullptr;
    reporter.error(error.what() + (strange ? watch.hint() : ""));
  }
  comm::Environment::abort(status);
}

/// What --inject asks for on this rank.
std::optional<runtime::FaultInjector> faults_of(const Command& command, const Start& start,
                                                const Reporter& reporter,
                                                const std::vector<std::string>& environment,
                                                const comm::Group& group) {
  if (!command.faults || !start.options || !start.options->has("inject")) return std::nullopt;
  const std::string text = start.options->text("inject");
  const auto faults =
      runtime::placed(runtime::faults_from(text), runtime::seed_of_faults(text), group.size());
  return std::optional<runtime::FaultInjector>(
      std::in_place, faults, group.rank(), incarnation_of(environment),
      [&reporter](std::string_view words) { reporter.line(words); });
}

/// Agrees on what all were started with, then runs.
int guarded_run(const Command& command, const Start& start, const Reporter& reporter,
                const std::vector<std::string>& environment, comm::Group& group,
                comm::Watch& watch) {
  std::optional<runtime::FaultInjector> faults;
  try {
    std::optional<comm::Problem> problem = start.problem;
    try {
      faults = faults_of(command, start, reporter, environment, group);
    } catch (const std::exception& error) {
      problem = runtime::problem_of(error);
    }
    comm::Observing watched(group.deadline(), faults ? &*faults : nullptr);
    group.deadline().phase("init");
    comm::agree(group, problem);
    comm::handshake(group, start.fields);
    if (group.rank() == 0) warn(reporter, *start.options, environment);
    const int status = run(command, start, reporter, group.rank() == 0, &group,
                           faults ? &*faults : nullptr, [&watch] { watch.let_mates_end(); });
    group.deadline().phase("finalize");
    return status;
  } catch (const comm::CollectiveError& error) {
    if (group.rank() == 0) reporter.error(error.what());
    return error.status();
  }
}

int main_with_mpi(const Command& command, const Start& start,
                  const std::vector<std::string>& environment) {
  die_with_launcher();
  std::chrono::milliseconds limit = comm::kDefaultDeadline;
  if (start.options) {
    const double limit_ms = std::ceil(start.options->real("deadline") * 1e3);
    limit = std::chrono::milliseconds(static_cast<std::int64_t>(limit_ms));
  }
  std::optional<Reporter> reporter(std::in_place);
  comm::Watch watch(limit, {.line = [&](std::string_view text) { reporter->line(text); },
                            .error = [&](std::string_view text) { reporter->error(text); },
                            .abort = [](int status) { comm::Environment::abort(status); }});
  watch.blocks("init", kLeastForMpi);
  const comm::Environment mpi;
  std::unique_ptr<comm::MpiGroup> group;
  try {
    group = comm::MpiGroup::world(limit);
    const bool bracket = group->size() > 1 || launched_as(environment).by_launcher;
    if (bracket) reporter.emplace(group->rank(), group->size());
    watch.join(*group, variable(environment, kBoardVariable));
    watch.flows();
    dying_signal = watch.dying_signal();
    note_fatal_signals();
    const int status = guarded_run(command, start, *reporter, environment, *group, watch);
    watch.blocks("finalize");
    group.reset();
    return status;
  } catch (const std::exception& error) {
    fail(error, watch, group.get(), *reporter);
  }
}

int main_without_mpi(const Command& command, const Start& start,
                     const std::vector<std::string>& environment) {
  const Reporter reporter;
  if (start.problem) {
    reporter.error(start.problem->message);
    return start.problem->status;
  }
  try {
    warn(reporter, *start.options, environment);
    return run(command, start, reporter, true, nullptr);
  } catch (const std::exception& error) {
    reporter.error(error.what());
    return runtime::status_of(error);
  }
}
}  // namespace

Launched launched_as(const std::vector<std::string>& environment) {
  for (const std::string name :
       {"OMPI_COMM_WORLD_RANK=", "PMIX_RANK=", "PMI_RANK=", "SLURM_PROCID="}) {
    for (const std::string& entry : environment) {
      if (!entry.starts_with(name)) continue;
      int rank = 0;
      const auto [end, error] =
          std::from_chars(entry.data() + name.size(), entry.data() + entry.size(), rank);
      if (error == std::errc()) return {.by_launcher = true, .rank = rank};
    }
  }
  return {};
}

int guarded_main(const Command& command, const std::vector<std::string>& args,
                 const std::vector<std::string>& environment) {
  // A launcher ends the job when a process fails, so the silent ones may not fail before rank 0 has
  // said why.
  if (!command.needs_mpi && launched_as(environment).rank != 0) return runtime::kDone;
  const Start start = parse(command, args, environment);
  return command.needs_mpi ? main_with_mpi(command, start, environment)
                           : main_without_mpi(command, start, environment);
}
}  // namespace switchyard::launch
