// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the commands on checkpoints have in common.
#include <cstdint>
#include <string>

#include "launch/options.hpp"
#include "launch/progress.hpp"
#include "runtime/checkpoint/tools/tools.hpp"

namespace switchyard::launch {

[[nodiscard]] Option step_option(const std::string& name,
                                 const std::string& without = "the newest");
[[nodiscard]] Positionals one_folder();
/// The positional of that number, and the step that an option names.
[[nodiscard]] runtime::StepPath step_path(const Options& options, std::size_t positional,
                                          const std::string& step);
/// "256M", "4G", "1000000": bytes. @throws std::invalid_argument
[[nodiscard]] std::int64_t bytes_from(const std::string& flag, const std::string& text);
[[nodiscard]] runtime::ByteProgress shown_by(Progress& progress);
}  // namespace switchyard::launch
