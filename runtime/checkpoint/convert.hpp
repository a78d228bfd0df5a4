// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Elements of one type as elements of another.
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/checkpoint/manifest.hpp"

namespace switchyard::runtime {

/// Among float32, bfloat16 and float16; any type to itself.
[[nodiscard]] bool can_convert(DataType from, DataType to);
/// Wider: exact; narrower: to nearest, ties to even; a NaN stays one. Neither side need be aligned.
/// @pre can_convert(from, to), and both sides have as many elements
void convert(DataType from, std::span<const std::byte> values, DataType to,
             std::span<std::byte> results);
}  // namespace switchyard::runtime
