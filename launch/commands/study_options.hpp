// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The flags of `study`, and the study that they and its file describe.
#include <vector>

#include "launch/options.hpp"
#include "runtime/study/study.hpp"

namespace switchyard::launch {
[[nodiscard]] std::vector<Option> study_options();
/// The file's study, if there is one, with what flags say instead. Settled.
/// @throws std::invalid_argument  what cannot be; std::system_error  a file that cannot be read
[[nodiscard]] runtime::study::Study study_from(const Options& options);
}  // namespace switchyard::launch
