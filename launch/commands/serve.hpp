// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// --serve: what it asks for, how it is shown, and how ranks leave that may have lost others.
#include <functional>
#include <string>
#include <vector>

#include "launch/command.hpp"
#include "runtime/run/settings.hpp"
#include "runtime/serve/serve_run.hpp"

namespace switchyard::launch {
/// --serve, --spares, --serve-deadline and --serve-reload.
[[nodiscard]] std::vector<Option> serve_options();
[[nodiscard]] runtime::ServeSettings serve_settings(const Options& options);

/// `run --serve`: runtime::serve_run with the program's output.
int serve_run(Context& context, const runtime::RunSettings& settings);

/// Says on stderr that this rank serves or waits, with its process id, so that it can be found.
void say_ready(const Context& context, bool spare);
/// Whether mpirun was told to let ranks die (--enable-recovery); if not, rank 0 warns. Then ranks
/// leave as ever, for mpirun ends the job with the first that dies.
[[nodiscard]] bool outlives_ranks(const Context& context);

void print_serving(const runtime::ServeReport& report, std::ostream& out);
[[nodiscard]] nlohmann::ordered_json serving_json(const runtime::ServeReport& report);

/// Runs `serve`, and leaves at once if it finds that the others go on without this rank.
int unless_taken_for_lost(Context& context, const std::function<int()>& serve);

/// Where the rank that shows the result writes it: rank 0 has its ways out, another one gets them.
class ServeOutput {
 public:
  /// While all ranks live.
  explicit ServeOutput(Context& context) : context_(context), owns_(context.first()) {}
  [[nodiscard]] std::ostream& out();
  /// Writes everything. @throws std::system_error
  void finish(const nlohmann::ordered_json& result);

 private:
  [[nodiscard]] bool json_to_stdout() const;
  Context& context_;
  bool owns_;  ///< the context's ways out are this rank's
  Results results_{1};
  Results nowhere_{-1};
};
}  // namespace switchyard::launch
