// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The flags of `run`, and what they mean.
#include <string>
#include <string_view>
#include <vector>

#include "launch/options.hpp"
#include "runtime/run/settings.hpp"

namespace switchyard::launch {
[[nodiscard]] std::vector<Option> run_options();
/// @throws std::invalid_argument  combinations that cannot be
[[nodiscard]] runtime::RunSettings run_settings(const Options& options);

/// --transport, --placement, --chunk-tokens, --threads-per-rank and --isa: how a layer is run,
/// which changes no bit of float32 products.
[[nodiscard]] std::vector<Option> layer_options();
[[nodiscard]] runtime::LayerOptions layer_settings(const Options& options);
/// Names of all stored types, and of all ways to multiply.
[[nodiscard]] std::vector<std::string> stored_types();
[[nodiscard]] std::vector<std::string> maths();
/// --isa: the widest that this processor has, unless told otherwise.
[[nodiscard]] Option isa_option(std::string meaning);
/// --weights: any stored type, float32 unless told otherwise.
[[nodiscard]] Option weights_option();
/// --weights with the choice of the checkpoint's own type, which is the default.
[[nodiscard]] Option own_weights_option();
[[nodiscard]] Option math_option();
/// own_weights_option and math_option: what a layer is stored and multiplied in, which decides its
/// bits.
[[nodiscard]] std::vector<Option> math_options();
/// @param name  one of maths
[[nodiscard]] experts::Math math_from(std::string_view name);
[[nodiscard]] experts::Math math_of(const Options& options);
/// --record-trace and --record-detail.
[[nodiscard]] std::vector<Option> record_options();
/// @throws std::invalid_argument  a detail without a file
[[nodiscard]] runtime::RecordSettings record_settings(const Options& options);
/// --inject of the verify commands.
[[nodiscard]] Option inject_option();
}  // namespace switchyard::launch
