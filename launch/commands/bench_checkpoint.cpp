// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "launch/commands/all.hpp"
#include "launch/commands/bench_report.hpp"
#include "runtime/bench/checkpoint.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
using runtime::bench::CheckpointReport;
using runtime::bench::CheckpointResult;
using runtime::bench::CheckpointSettings;

/// `dd WORDS`, its chatter aside. @throws std::system_error  it is not there or has failed
void dd(std::vector<std::string> words) {
  words.insert(words.begin(), "dd");
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), "cannot start dd");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::system_error(EIO, std::generic_category(), "dd " + words[2]);
  }
}

CheckpointSettings settings_of(const Options& options) {
  CheckpointSettings settings;
  settings.directory = options.text("directory");
  settings.mib_per_rank = counts_of(options, "mib-per-rank");
  settings.budget.seconds = options.real("seconds");
  settings.budget.most = options.integer("repetitions");
  settings.budget.least = std::min(settings.budget.least, settings.budget.most);
  settings.write_beside = [](const std::string& file, std::int64_t mib) {
    dd({"if=/dev/zero", "of=" + file, "bs=1M", "count=" + std::to_string(mib), "conv=fsync"});
  };
  settings.read_beside = [](const std::string& file) {
    dd({"if=" + file, "of=/dev/null", "bs=1M"});
  };
  return settings;
}

std::vector<comm::Field> prepare(const Options& options) {
  static_cast<void>(settings_of(options));
  return {};
}

void print(const CheckpointReport& report, const Options& options, int ranks, std::ostream& out) {
  out << "# " << ranks << " ranks, in " << options.text("directory")
      << "; s of the slowest rank, medians; dd writes with conv=fsync; files are read from the "
         "disk\n"
         "# over dd: speed over dd's, of neighbours in time; pause: of a save beside steps, over a "
         "memcpy of as many bytes\n";
  Table table({"MiB/rank", "save s", "dd s", "over dd", "load s", "dd s", "over dd", "pause s",
               "memcpy s", "over memcpy", "save GB/s", "load GB/s", "#wrong"});
  for (const CheckpointResult& r : report.results) {
    const double gb = static_cast<double>(r.mib_per_rank) * ranks * 1048576e-9;
    table.row({std::to_string(r.mib_per_rank), figure(r.save_s.median),
               figure(r.beside_write_s.median), decimal(r.save_ratio, 3), figure(r.load_s.median),
               figure(r.beside_read_s.median), decimal(r.load_ratio, 3), figure(r.pause_s.median),
               figure(r.memcpy_s.median), decimal(r.pause_ratio, 3), figure(gb / r.save_s.median),
               figure(gb / r.load_s.median), std::to_string(r.wrong)});
  }
  table.print(out);
}

nlohmann::ordered_json to_json(const CheckpointReport& report) {
  nlohmann::ordered_json json;
  json["results"] = nlohmann::ordered_json::array();
  for (const CheckpointResult& r : report.results) {
    nlohmann::ordered_json row{{"mib_per_rank", r.mib_per_rank}, {"repetitions", r.repetitions}};
    put(row, "save_s", r.save_s);
    put(row, "dd_write_s", r.beside_write_s);
    row["save_over_dd"] = r.save_ratio;
    put(row, "load_s", r.load_s);
    put(row, "dd_read_s", r.beside_read_s);
    row["load_over_dd"] = r.load_ratio;
    put(row, "pause_s", r.pause_s);
    put(row, "memcpy_s", r.memcpy_s);
    row["pause_over_memcpy"] = r.pause_ratio;
    row["wrong"] = r.wrong;
    json["results"].push_back(std::move(row));
  }
  return json;
}

int run(Context& context) {
  const CheckpointReport report =
      runtime::bench::bench_checkpoint(context.group(), settings_of(context.options));
  print(report, context.options, context.group().size(), context.out);
  print_machine(report.steadiness, context.out);
  if (context.json.wanted()) {
    nlohmann::ordered_json json = bench_header(context, "bench checkpoint", report.steadiness);
    json.update(to_json(report));
    context.json.write(json);
  }
  std::int64_t wrong = 0;
  for (const CheckpointResult& r : report.results) wrong += r.wrong;
  return wrong > 0 ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

Command bench_checkpoint_command() {
  return {.name = "bench checkpoint",
          .summary = "saving and loading, checked, against dd with fsync",
          .needs_mpi = true,
          .options = {text_option("directory", "DIRECTORY", "on the disk to be measured", "."),
                      text_option("mib-per-rank", "MIB,...", "that each rank saves", "256"),
                      real_option("seconds", "SECONDS",
                                  "to measure a row of the table, in 5 repetitions or more", 20,
                                  {.least = 0, .most = 1e6}),
                      integer_option("repetitions", "COUNT", "of a row at most", 20, {.least = 1})},
          .prepare = prepare,
          .run = run};
}
}  // namespace switchyard::launch
