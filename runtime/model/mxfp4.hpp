// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// MXFP4: 4-bit floats in blocks of 32 inputs that share a power of two (OCP Microscaling Formats
/// 1.0), as gpt-oss stores its experts. Every value of it is also a bfloat16, so decoding is exact.
#include <cstddef>
#include <cstdint>
#include <span>

namespace switchyard::runtime {

inline constexpr std::int64_t kMxfp4Block = 32;       ///< values that share a scale
inline constexpr std::int64_t kMxfp4BlockBytes = 16;  ///< two values a byte, low nibble first

/// value = table[nibble] * 2^(scale - 127), table 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives.
/// @param blocks  [n, 16] bytes
/// @param scales  [n] bytes
/// @param out     [n, 32] bfloat16 bits
/// @throws std::invalid_argument  lengths that disagree, or a value beyond bfloat16:
///                                "mxfp4: scale of block 7, got 255, want at most 252"
void decode_mxfp4(std::span<const std::byte> blocks, std::span<const std::byte> scales,
                  std::span<std::uint16_t> out);
}  // namespace switchyard::runtime
