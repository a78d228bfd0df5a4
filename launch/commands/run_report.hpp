// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What `run` says of its result, and `simulate` of one that it has made alike.
#include <nlohmann/json.hpp>
#include <ostream>

#include "runtime/run/run.hpp"

namespace switchyard::launch {
void print_run(const runtime::RunResult& result, std::ostream& out);
[[nodiscard]] nlohmann::ordered_json run_json(const runtime::RunResult& result);
}  // namespace switchyard::launch
