// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "launch/commands/all.hpp"
#include "launch/commands/run_options.hpp"
#include "launch/progress.hpp"
#include "runtime/layer/inject.hpp"
#include "runtime/status.hpp"
#include "runtime/verify/laws.hpp"

namespace switchyard::launch {
namespace {
void print(const runtime::LawCounts& counts, std::uint64_t seed, int ranks, std::ostream& out) {
  out << "drawn:\n";
  std::string what;
  for (const auto& [name, count] : counts.drawn) {
    const std::string group = name.substr(0, name.rfind(' '));
    out << (group == what  ? ", "
            : what.empty() ? "  "
                           : "\n  ")
        << (group == what ? name.substr(group.size() + 1) : name) << " " << count;
    what = group;
  }
  out << "\n";
  if (!counts.first_failure.empty()) {
    out << "FAILED\n"
        << counts.first_failure << "\nagain: verify laws --fuzz 1 --seed "
        << seed + static_cast<std::uint64_t>(counts.cases) - 1 << "\n";
  }
  char text[200];
  std::snprintf(text, sizeof text,
                "%lld cases from seed %llu, %lld failed, worst error %.3f of its derived bound, "
                "%lld rows crossed, %d ranks\n",
                static_cast<long long>(counts.cases), static_cast<unsigned long long>(seed),
                static_cast<long long>(counts.failed), counts.worst_over_limit,
                static_cast<long long>(counts.rows_out), ranks);
  out << text;
}

int run(Context& context) {
  const auto seed = static_cast<std::uint64_t>(context.options.integer("seed"));
  const std::int64_t cases = context.options.integer("fuzz");
  const auto inject = runtime::inject_from(context.options.text("inject"));
  Progress progress("switchyard verify laws: case", context.first());
  const auto counts = runtime::verify_laws(context.group(), seed, cases, inject,
                                           [&](std::int64_t i) { progress.at(i, cases); });
  progress.clear();
  print(counts, seed, context.group().size(), context.out);
  if (context.json.wanted()) {
    context.json.write({{"cases", counts.cases},
                        {"failed", counts.failed},
                        {"worst_over_limit", counts.worst_over_limit},
                        {"rows_out", counts.rows_out},
                        {"drawn", counts.drawn},
                        {"first_failure", counts.first_failure}});
  }
  return counts.failed > 0 || counts.cases == 0 ? runtime::kCheckFailed : runtime::kDone;
}
}  // namespace

Command verify_laws_command() {
  return {.name = "verify laws",
          .summary = "random blocks and settings against the laws and the single-process reference",
          .needs_mpi = true,
          .options = {integer_option("fuzz", "COUNT", "random cases", 200, {.least = 1}),
                      integer_option("seed", "NUMBER", "of the first; the next has the next", 1,
                                     {.least = 0}),
                      inject_option()},
          .run = run};
}
}  // namespace switchyard::launch
