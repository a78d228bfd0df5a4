// SPDX-License-Identifier: Apache-2.0
// Dot products by tiles (AMX): 16 rows x 16 columns x 64 bytes of inputs at once. Whatever the
// number of rows, a sum is made by the same instructions in the same order.
//
// Tile registers: 0 and 1 are the sums of the first 16 rows and the two halves of a panel, 2 and 3
// those of the next 16; 4 and 5 hold rows, 6 and 7 weights. The instructions are written out: what
// compilers make of the intrinsics reads eight bytes of the configuration and no more.
#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/dot.inl"
#include "experts/kernels/dot_bfloat16.inl"

namespace switchyard::experts::dot {
namespace {

constexpr std::int64_t kTileRows = 16;
constexpr std::int64_t kTileBytes = 64 * kTileRows;
constexpr std::int64_t kPanelStep = 128;  ///< bytes of all columns for what one dot product takes

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

void begin(std::int64_t num_rows) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = kTileRows;
  }
  if (num_rows <= 2 * kTileRows) {  // one pass, so that tiles can be as small as their rows
    const std::int64_t upper = num_rows < kTileRows ? num_rows : kTileRows;
    const std::int64_t lower = num_rows > kTileRows ? num_rows - kTileRows : kTileRows;
    constexpr int kUpper[] = {0, 1, 4};
    constexpr int kLower[] = {2, 3, 5};
    for (const int i : kUpper) config.rows[i] = static_cast<std::uint8_t>(upper);
    for (const int i : kLower) config.rows[i] = static_cast<std::uint8_t>(lower);
  }
  asm volatile("ldtilecfg %0" : : "m"(config));
}
void end() {
  asm volatile("tilerelease" : :);
}

/// Where the other thread of the core is busy, tile instructions that follow each other closely
/// take two to four times as long; with seven others between them, one to two. Where the core is
/// ours they fill slots that nothing else wants (README.md, Native math).
[[gnu::always_inline]] inline void keep_apart() {
  asm volatile(".rept 8\n\tnop\n\t.endr" : :);
}

struct Bfloat16 {
  [[gnu::always_inline]] static void multiply_upper() {
    asm volatile("tdpbf16ps %%tmm6, %%tmm4, %%tmm0" : :);
    keep_apart();
    asm volatile("tdpbf16ps %%tmm7, %%tmm4, %%tmm1" : :);
    keep_apart();
  }
  [[gnu::always_inline]] static void multiply_lower() {
    asm volatile("tdpbf16ps %%tmm6, %%tmm5, %%tmm2" : :);
    keep_apart();
    asm volatile("tdpbf16ps %%tmm7, %%tmm5, %%tmm3" : :);
    keep_apart();
  }
};
struct Int8 {
  [[gnu::always_inline]] static void multiply_upper() {
    asm volatile("tdpbssd %%tmm6, %%tmm4, %%tmm0" : :);
    keep_apart();
    asm volatile("tdpbssd %%tmm7, %%tmm4, %%tmm1" : :);
    keep_apart();
  }
  [[gnu::always_inline]] static void multiply_lower() {
    asm volatile("tdpbssd %%tmm6, %%tmm5, %%tmm2" : :);
    keep_apart();
    asm volatile("tdpbssd %%tmm7, %%tmm5, %%tmm3" : :);
    keep_apart();
  }
};

template <int kTile>
[[gnu::always_inline]] inline void load_tile(const std::byte* from, std::int64_t stride) {
  asm volatile("tileloadd (%[from], %[stride], 1), %%tmm%c[tile]"
               :
               : [from] "r"(from), [stride] "r"(stride), [tile] "i"(kTile)
               : "memory");
  keep_apart();
}

/// 64 bytes of inputs.
template <class Type, bool kLower>
[[gnu::always_inline]] inline void step(const std::byte* rows, std::int64_t next_block,
                                        const std::byte* weights) {
  load_tile<4>(rows, 64);
  load_tile<6>(weights, kPanelStep);
  load_tile<7>(weights + 64, kPanelStep);
  if constexpr (kLower) load_tile<5>(rows + next_block, 64);
  Type::multiply_upper();
  if constexpr (kLower) Type::multiply_lower();
}

template <bool kLower>
[[gnu::always_inline]] inline void zero_sums() {
  asm volatile("tilezero %%tmm0\n\ttilezero %%tmm1" : :);
  if constexpr (kLower) asm volatile("tilezero %%tmm2\n\ttilezero %%tmm3" : :);
}
template <bool kLower>
[[gnu::always_inline]] inline void load_sums(const void* sums, std::int64_t stride) {
  asm volatile("tileloadd (%0, %1, 1), %%tmm0\n\ttileloadd 64(%0, %1, 1), %%tmm1"
               :
               : "r"(sums), "r"(stride)
               : "memory");
  if constexpr (kLower) {
    asm volatile("tileloadd (%0, %1, 1), %%tmm2\n\ttileloadd 64(%0, %1, 1), %%tmm3"
                 :
                 : "r"(static_cast<const std::byte*>(sums) + kTileRows * stride), "r"(stride)
                 : "memory");
  }
}
template <bool kLower>
[[gnu::always_inline]] inline void store_sums(void* sums, std::int64_t stride) {
  asm volatile("tilestored %%tmm0, (%0, %1, 1)\n\ttilestored %%tmm1, 64(%0, %1, 1)"
               :
               : "r"(sums), "r"(stride)
               : "memory");
  if constexpr (kLower) {
    asm volatile("tilestored %%tmm2, (%0, %1, 1)\n\ttilestored %%tmm3, 64(%0, %1, 1)"
                 :
                 : "r"(static_cast<std::byte*>(sums) + kTileRows * stride), "r"(stride)
                 : "memory");
  }
}

constexpr std::int64_t kBfloat16Depth = 32;  ///< inputs of a tile

/// @param rest  the last, incomplete step of the panel, filled up with zeros
template <bool kLower>
[[gnu::noinline]] void bfloat16_rows(const Block& b, const std::byte* rest, Streams ahead) {
  constexpr std::int64_t kSumsStride = kColumns * std::int64_t{sizeof(float)};
  const std::byte* rows = b.rows;
  const std::int64_t next_block = b.layout.block_stride;
  const std::int64_t tile = b.layout.tile_bytes;
  const std::byte* weights = b.panel;
  if (b.first) {
    zero_sums<kLower>();
  } else {
    load_sums<kLower>(b.sums, kSumsStride);
  }
  const std::int64_t steps = b.depth / kBfloat16Depth;
  for (std::int64_t s = 0; s < steps; ++s, rows += tile, weights += 2 * kTileBytes) {
    step<Bfloat16, kLower>(rows, next_block, weights);
    ahead.fetch();
  }
  if (rest != nullptr) step<Bfloat16, kLower>(rows, next_block, rest);
  store_sums<kLower>(b.sums, kSumsStride);
}

void accumulate_bfloat16(const Block& b) {
  const std::int64_t steps = b.depth / kBfloat16Depth;
  alignas(64) std::byte rest[2 * kTileBytes];
  const std::int64_t rest_depth = b.depth % kBfloat16Depth;
  if (rest_depth > 0) {
    const auto bytes = static_cast<std::size_t>((rest_depth + 1) / 2 * kPanelStep);
    __builtin_memcpy(rest, b.panel + steps * 2 * kTileBytes, bytes);
    __builtin_memset(rest + bytes, 0, sizeof rest - bytes);
  }
  const std::byte* filled = rest_depth > 0 ? rest : nullptr;
  const Streams ahead(b, 0, 1, steps);
  if (b.num_rows > kTileRows) {
    bfloat16_rows<true>(b, filled, ahead);
  } else {
    bfloat16_rows<false>(b, filled, ahead);
  }
}

constexpr std::int64_t kProducts = 2 * kTileRows * kColumns;  ///< of 32 rows and a panel

/// sums[r] += products[r] * (weight scale * row scale), for one group.
/// @param products  [32][32], of the second plane behind those of the first
inline void scale_rows(const Block& b, std::int64_t group, const std::int32_t* products) {
  const auto* scales = reinterpret_cast<const float*>(b.panel + group * kGroupBytes);
  const __m512 low_scale = _mm512_load_ps(scales);
  const __m512 high_scale = _mm512_load_ps(scales + 16);
  const bool first = b.first && group == 0;
  const auto product = [&](const std::int32_t* p) __attribute__((always_inline)) {
    __m512i value = _mm512_load_si512(p);
    if (b.second_plane != 0) {
      static_assert(kPlaneRadix == 256 - 2);
      const __m512i times =
          _mm512_sub_epi32(_mm512_slli_epi32(value, 8), _mm512_add_epi32(value, value));
      value = _mm512_add_epi32(times, _mm512_load_si512(p + kProducts));
    }
    return _mm512_cvtepi32_ps(value);
  };
  for (std::int64_t r = 0; r < b.num_rows; ++r) {
    float* sums = b.sums + r * kColumns;
    const __m512 row_scale = _mm512_set1_ps(note_of(b, r, group).scale);
    const __m512 low = first ? _mm512_setzero_ps() : _mm512_load_ps(sums);
    const __m512 high = first ? _mm512_setzero_ps() : _mm512_load_ps(sums + 16);
    const __m512 p = product(products + r * kColumns);
    const __m512 q = product(products + r * kColumns + 16);
    _mm512_store_ps(sums, _mm512_fmadd_ps(p, _mm512_mul_ps(low_scale, row_scale), low));
    _mm512_store_ps(sums + 16, _mm512_fmadd_ps(q, _mm512_mul_ps(high_scale, row_scale), high));
  }
}

template <bool kLower>
[[gnu::noinline]] void int8_rows(const Block& b) {
  alignas(64) std::int32_t products[2][2 * kProducts];  // they take turns
  const std::byte* rows = b.rows;
  const std::int64_t next_block = b.layout.block_stride;
  const std::int64_t tile = b.layout.tile_bytes;
  const std::byte* weights = b.panel + kGroupBytes - kGroup * kColumns;
  const std::int64_t groups = (b.depth + kGroup - 1) / kGroup;
  Streams ahead(b, 0, 1, groups);
  for (std::int64_t g = 0; g < groups; ++g, rows += 2 * tile, weights += kGroupBytes) {
    std::int32_t* out = products[g % 2];
    zero_sums<kLower>();
    step<Int8, kLower>(rows, next_block, weights);
    ahead.fetch();
    step<Int8, kLower>(rows + tile, next_block, weights + 2 * kTileBytes);
    store_sums<kLower>(out, kColumns * 4);
    if (b.second_plane != 0) {
      const std::byte* second = rows + b.second_plane;
      zero_sums<kLower>();
      step<Int8, kLower>(second, next_block, weights);
      step<Int8, kLower>(second + tile, next_block, weights + 2 * kTileBytes);
      store_sums<kLower>(out + kProducts, kColumns * 4);
    }
    if (g > 0) scale_rows(b, g - 1, products[(g + 1) % 2]);
  }
  scale_rows(b, groups - 1, products[(groups + 1) % 2]);
}

void accumulate_int8(const Block& b) {
  return b.num_rows > kTileRows ? int8_rows<true>(b) : int8_rows<false>(b);
}
}  // namespace

Kernels amx_bfloat16() {
  return {.name = "amx-bf16",
          .engine = "amx-bf16",
          .element_bytes = 2,
          .rows_a_block = 2 * kTileRows,
          .tiles = true,
          .begin = begin,
          .end = end,
          .pack_rows = pack_bfloat16,
          .pack_values = pack_bfloat16_values,
          .accumulate = accumulate_bfloat16};
}
Kernels amx_int8() {
  return {.name = "int8",
          .engine = "amx-int8",
          .element_bytes = 1,
          .group_note_bytes = sizeof(Note),
          .rows_a_block = 2 * kTileRows,
          .tiles = true,
          .begin = begin,
          .end = end,
          .pack_rows = pack_int8,
          .accumulate = accumulate_int8};
}
}  // namespace switchyard::experts::dot
#endif
