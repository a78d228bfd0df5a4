// SPDX-License-Identifier: Apache-2.0
#include "launch/command.hpp"

#include <chrono>
#include <stdexcept>

#include "comm/group/mpi_group.hpp"
#include "launch/commands/all.hpp"
#include "runtime/faults/plan.hpp"

namespace switchyard::launch {

comm::Group& Context::group() const {
  if (ranks == nullptr) throw std::logic_error("context: this command was declared without MPI");
  return *ranks;
}

std::vector<Option> standard_options(bool needs_mpi) {
  std::vector<Option> options;
  if (needs_mpi) {
    const double limit_s = std::chrono::duration<double>(comm::kDefaultDeadline).count();
    options.push_back(real_option("deadline", "SECONDS",
                                  "longest wait for another rank before the job is given up",
                                  limit_s, {.least = 0, .most = 1e6, .above = true}));
    options.push_back(
        text_option("config", "FILE",
                    "settings in protobuf text format; the environment (SWITCHYARD_NAME) "
                    "and flags override them"));
  }
  options.push_back(
      output_option("json", "FILE", "write the result as JSON as well; -: to stdout, instead"));
  return options;
}

Syntax Command::syntax() const {
  Syntax syntax{
      .command = name, .summary = summary, .options = options, .positionals = positionals};
  if (faults) {
    syntax.options.push_back(text_option("inject", "FAULT;...", runtime::describe_faults()));
  }
  for (Option& option : standard_options(needs_mpi)) syntax.options.push_back(std::move(option));
  return syntax;
}

std::vector<Command> commands() {
  return {run_command(),
          generate_command(),
          eval_command(),
          verify_golden_command(),
          verify_laws_command(),
          bench_ffn_command(),
          bench_exchange_command(),
          bench_layer_command(),
          bench_checkpoint_command(),
          models_command(),
          models_show_command(),
          plan_command(),
          calibrate_command(),
          place_plan_command(),
          place_eval_command(),
          place_compare_command(),
          quantize_command(),
          simulate_command(),
          study_command(),
          supervise_command(),
          checkpoint_info_command(),
          checkpoint_verify_command(),
          checkpoint_reshard_command(),
          checkpoint_diff_command(),
          checkpoint_import_command(),
          checkpoint_export_command(),
          trace_record_command(),
          trace_synth_command(),
          trace_import_command(),
          trace_info_command(),
          report_command(),
          doctor_command()};
}
}  // namespace switchyard::launch
