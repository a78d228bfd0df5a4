// SPDX-License-Identifier: Apache-2.0
#include "launch/guarded_main.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <thread>
#include <unistd.h>

#include "comm/collective.hpp"
#include "comm/error.hpp"
#include "comm/mpi_group.hpp"
#include "launch/config.hpp"
#include "launch/version.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
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

JsonOutput open_json(const Command& command, const Options& options, int ranks, std::ostream& out) {
  if (!options.has("json")) return {};
  return {options.text("json"),
          out,
          {{"command", command.name},
           {"version", version()},
           {"ranks", ranks},
           {"options", settings_of(command, options)}}};
}

bool json_on_stdout(const Options& options) {
  return options.has("json") && options.text("json") == "-";
}

void warn(const Reporter& reporter, const Options& options,
          const std::vector<std::string>& environment) {
  std::vector<std::string> names{"config", "deadline", "json"};
  for (const Command& command : commands()) {
    for (const Option& option : command.options) names.push_back(option.name);
  }
  for (const std::string& name : config_options()) names.push_back(name);
  for (const auto& sentence : unknown_variables(environment, names)) reporter.warning(sentence);
  for (const auto& sentence : options.ignored()) reporter.warning(sentence);
}

/// The command with its output, from the first line to the last byte.
int run(const Command& command, const Start& start, const Reporter& reporter, bool prints,
        comm::Group* group) {
  const Options& options = *start.options;
  Results results(prints ? STDOUT_FILENO : -1);
  Results nowhere(-1);
  JsonOutput json;
  const auto together = [&](const std::function<void()>& body) {
    if (group == nullptr) return body();
    runtime::together(*group, body);
  };
  together([&] {
    const int ranks = group == nullptr ? 1 : group->size();
    if (prints) json = open_json(command, options, ranks, results);
  });
  Context context{.options = options,
                  .out = json_on_stdout(options) ? nowhere : results,
                  .reporter = reporter,
                  .json = json,
                  .ranks = group};
  int status = command.run(context);
  together([&] { results.finish(); });
  if (group == nullptr) return status;
  for (const auto& of_rank : comm::allgather_values<int>(*group, std::span(&status, 1))) {
    status = std::max(status, of_rank.front());
  }
  return status;
}

/// One failure, one message: when several ranks fail alike, the lowest says so and ends the job
/// before the others have spoken. A missed deadline is told by each, since each waits for somebody
/// else.
void wait_for_the_first(const std::exception& error, int rank) {
  if (runtime::status_of(error) == runtime::kTemporary) return;
  std::this_thread::sleep_for(std::chrono::milliseconds(200 * std::min(rank, 10)));
}

int main_with_mpi(const Command& command, const Start& start,
                  const std::vector<std::string>& environment) {
  const comm::Environment mpi;
  std::chrono::milliseconds limit = comm::kDefaultDeadline;
  if (start.options) {
    const double limit_ms = std::ceil(start.options->real("deadline") * 1e3);
    limit = std::chrono::milliseconds(static_cast<std::int64_t>(limit_ms));
  }
  std::optional<Reporter> reporter;
  int rank = 0;
  try {
    const auto group = comm::MpiGroup::world(limit);
    rank = group->rank();
    const bool bracket = group->size() > 1 || launched_as(environment).by_launcher;
    reporter = bracket ? Reporter(group->rank(), group->size()) : Reporter();
    try {
      comm::agree(*group, start.problem);
      comm::handshake(*group, start.fields);
      if (group->rank() == 0) warn(*reporter, *start.options, environment);
      return run(command, start, *reporter, group->rank() == 0, group.get());
    } catch (const comm::CollectiveError& error) {
      if (group->rank() == 0) reporter->error(error.what());
      return error.status();
    }
  } catch (const std::exception& error) {
    wait_for_the_first(error, rank);
    reporter.value_or(Reporter()).error(error.what());
    comm::Environment::abort(runtime::status_of(error));
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
