// SPDX-License-Identifier: Apache-2.0
// A program with one command, `probe`, that fails in the way and on the rank that it is told to:
// what guarded_main_test starts under mpirun.
#include <stdexcept>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "launch/guarded_main.hpp"
#include "runtime/status.hpp"

namespace {
using namespace switchyard;  // NOLINT(google-build-using-namespace): a program of one file

[[noreturn]] void fail(const std::string& how) {
  if (how == "usage") throw std::invalid_argument("probe: told to fail");
  if (how == "io") throw std::system_error(ENOSPC, std::generic_category(), "probe");
  if (how == "temporary") throw comm::TemporaryError("probe: told to fail");
  throw std::runtime_error("probe: told to fail");
}

bool chosen(const launch::Options& options, int rank) {
  return options.integer("on-rank") == rank;
}

std::vector<comm::Field> prepare(const launch::Options& options) {
  if (options.text("when") == "prepare") fail(options.text("how"));
  return {};
}

int probe(launch::Context& context) {
  const std::string when = context.options.text("when");
  const std::string how = context.options.text("how");
  const bool mine = chosen(context.options, context.group().rank());
  if (when == "together") {
    runtime::together(context.group(), [&] {
      if (mine) fail(how);
    });
  }
  if (when == "alone" && mine) fail(how);
  if (when == "hang" && mine) std::this_thread::sleep_for(std::chrono::seconds(20));
  comm::barrier(context.group());
  context.out << "ranks " << context.group().size() << '\n';
  context.json.write({{"seen_ranks", context.group().size()}});
  return when == "check" && mine ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

int main(int argc, char** argv) {
  const launch::Command command{
      .name = "probe",
      .summary = "fails as told",
      .needs_mpi = true,
      .options = {launch::integer_option("on-rank", "RANK", "who fails", 0),
                  launch::integer_option("seed", "SEED", "has to be equal everywhere", 0),
                  launch::choice_option("when",
                                        {"never", "prepare", "together", "alone", "hang", "check"},
                                        "at which stage", "never"),
                  launch::choice_option("how", {"usage", "io", "temporary", "internal"},
                                        "with which kind of error", "internal")},
      .prepare = prepare,
      .run = probe};
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  return launch::guarded_main(command, {argv + 1, argv + argc}, environment);
}
