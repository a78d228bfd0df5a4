// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/mxfp4.hpp"

#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "experts/dtype.hpp"

namespace switchyard::runtime {
namespace {

/// bfloat16 bits of the 16 codes under each scale. From scale 253 on a code can pass the largest
/// float (6 * 2^126 is more than 2^128), and 255 means "not a number".
constexpr int kMaxScale = 252;
using Table = std::array<std::array<std::uint16_t, 16>, kMaxScale + 1>;

Table make_table() {
  constexpr std::array<float, 8> kMagnitudes = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
  Table table{};
  for (int scale = 0; scale <= kMaxScale; ++scale) {
    for (std::size_t code = 0; code < 8; ++code) {
      const float value = std::ldexp(kMagnitudes[code], scale - 127);
      table[static_cast<std::size_t>(scale)][code] = experts::narrow_bfloat16(value);
      table[static_cast<std::size_t>(scale)][code + 8] = experts::narrow_bfloat16(-value);
    }
  }
  return table;
}
}  // namespace

void decode_mxfp4(std::span<const std::byte> blocks, std::span<const std::byte> scales,
                  std::span<std::uint16_t> out) {
  if (blocks.size() != scales.size() * kMxfp4BlockBytes ||
      out.size() != scales.size() * kMxfp4Block) {
    throw std::invalid_argument("mxfp4: " + std::to_string(blocks.size()) + " bytes of blocks, " +
                                std::to_string(scales.size()) + " scales and " +
                                std::to_string(out.size()) + " values, want 16 : 1 : 32");
  }
  const Table table = make_table();
  const std::byte* packed = blocks.data();
  std::uint16_t* to = out.data();
  for (std::size_t block = 0; block < scales.size(); ++block) {
    const auto scale = std::to_integer<std::size_t>(scales[block]);
    if (scale > static_cast<std::size_t>(kMaxScale)) {
      throw std::invalid_argument("mxfp4: scale of block " + std::to_string(block) + ", got " +
                                  std::to_string(scale) + ", want at most 252");
    }
    const auto& values = table[scale];
    for (std::int64_t i = 0; i < kMxfp4BlockBytes; ++i) {
      const auto pair = std::to_integer<std::size_t>(*packed++);
      *to++ = values[pair & 15U];
      *to++ = values[pair >> 4U];
    }
  }
}
}  // namespace switchyard::runtime
