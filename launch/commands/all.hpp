// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// One function a command; each stands in the file of its name.
#include "launch/command.hpp"

namespace switchyard::launch {
[[nodiscard]] Command run_command();
[[nodiscard]] Command generate_command();
[[nodiscard]] Command eval_command();
[[nodiscard]] Command verify_golden_command();
[[nodiscard]] Command verify_laws_command();
[[nodiscard]] Command bench_ffn_command();
[[nodiscard]] Command bench_exchange_command();
[[nodiscard]] Command bench_layer_command();
[[nodiscard]] Command bench_checkpoint_command();
[[nodiscard]] Command models_command();
[[nodiscard]] Command models_show_command();
[[nodiscard]] Command plan_command();
[[nodiscard]] Command calibrate_command();
[[nodiscard]] Command place_plan_command();
[[nodiscard]] Command place_eval_command();
[[nodiscard]] Command place_compare_command();
[[nodiscard]] Command quantize_command();
[[nodiscard]] Command checkpoint_info_command();
[[nodiscard]] Command checkpoint_verify_command();
[[nodiscard]] Command checkpoint_reshard_command();
[[nodiscard]] Command checkpoint_diff_command();
[[nodiscard]] Command checkpoint_import_command();
[[nodiscard]] Command checkpoint_export_command();
[[nodiscard]] Command trace_record_command();
[[nodiscard]] Command trace_synth_command();
[[nodiscard]] Command trace_import_command();
[[nodiscard]] Command trace_info_command();
[[nodiscard]] Command doctor_command();
[[nodiscard]] Command report_command();
[[nodiscard]] Command simulate_command();
[[nodiscard]] Command study_command();
[[nodiscard]] Command supervise_command();
}  // namespace switchyard::launch
