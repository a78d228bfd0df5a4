// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The presets that are compiled into the program.
#include <string_view>

namespace switchyard::runtime {

/// All presets in protobuf text format, by file name, each ended by a form feed. Made by
/// presets.cmake.
[[nodiscard]] std::string_view preset_texts();
}  // namespace switchyard::runtime
