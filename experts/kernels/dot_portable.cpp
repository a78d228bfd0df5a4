// SPDX-License-Identifier: Apache-2.0
// int8 for any processor. Sums of bytes are integers, so their bits are those of the others; fmaf
// is correctly rounded everywhere, if slow where there is no instruction for it.
#include <cstdint>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_chain_portable.inl"
#include "experts/kernels/dot_rows.inl"

namespace switchyard::experts::dot {
namespace {

struct Bytes {
  template <unsigned kRows>
  static void run(const Block& b, std::int64_t row, Streams ahead) {
    static_assert(kRows == 1);
    const std::int64_t groups = (b.depth + kGroup - 1) / kGroup;
    float* out = b.sums + row * kColumns;
    const std::byte* panel = b.panel;
    for (std::int64_t g = 0; g < groups; ++g, panel += kGroupBytes) {
      ahead.fetch();
      std::int32_t sums[kColumns] = {};
      const auto add_plane = [&](std::int64_t plane) {
        const auto* x =
            reinterpret_cast<const std::int8_t*>(b.rows + row * b.layout.row_stride + plane) +
            g * kGroup;
        const auto* w = reinterpret_cast<const std::int8_t*>(panel + kColumns * 4);
        for (std::int64_t k = 0; k < kGroup; k += 4, w += 4 * kColumns) {
          for (std::int64_t c = 0; c < kColumns; ++c) {
            sums[c] += w[4 * c] * x[k] + w[4 * c + 1] * x[k + 1] + w[4 * c + 2] * x[k + 2] +
                       w[4 * c + 3] * x[k + 3];
          }
        }
      };
      add_plane(0);
      if (b.second_plane != 0) {
        for (std::int32_t& sum : sums) sum *= kPlaneRadix;
        add_plane(b.second_plane);
      }
      const auto* scales = reinterpret_cast<const float*>(panel);
      const float scale = note_of(b, row, g).scale;
      for (std::int64_t c = 0; c < kColumns; ++c) {
        const float before = b.first && g == 0 ? 0.0F : out[c];
        out[c] = __builtin_fmaf(static_cast<float>(sums[c]), scales[c] * scale, before);
      }
    }
  }
};

void widen_int8(const std::byte* group, float* wide) {
  const auto* scales = reinterpret_cast<const float*>(group);
  const auto* bytes = reinterpret_cast<const std::int8_t*>(group + kColumns * 4);
  for (std::int64_t k = 0; k < kGroup; ++k) {
    const std::int8_t* step = bytes + k / 4 * 4 * kColumns + k % 4;
    for (std::int64_t c = 0; c < kColumns; ++c) {
      wide[k * kColumns + c] = static_cast<float>(step[4 * c]) * scales[c];
    }
  }
}
}  // namespace

Kernels portable_int8() {
  return {.name = "int8",
          .engine = "portable",
          .element_bytes = 1,
          .group_note_bytes = sizeof(Note),
          .rows_a_block = 1,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_int8,
          .accumulate = each_rows<Bytes, 1, 128>};
}
Kernels portable_widened_int8() {
  return {.name = "float32",
          .engine = "portable",
          .element_bytes = 4,
          .rows_a_block = 1,
          .begin = nothing_to_begin,
          .end = nothing_to_end,
          .pack_rows = pack_float32,
          .accumulate = accumulate_widened<Chain, 1, widen_int8, kGroupBytes>};
}
}  // namespace switchyard::experts::dot
