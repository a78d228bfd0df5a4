// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The door to the kernels whose rows lie row by row: the processor's dot products, and float32
/// products of weights that have to be widened first. Plain structs and function pointers only, as
/// in panel.hpp and for its reason.
#include <cstddef>
#include <cstdint>

namespace switchyard::experts::dot {

inline constexpr std::int64_t kColumns = 32;  ///< outputs of one panel
inline constexpr std::int64_t kGroup = 128;   ///< inputs that share a scale
/// Bytes of one group of an int8 panel: 32 float32 scales, then [32 steps][32 columns][4 inputs];
/// of an FP8 panel: the same, but [64 steps][32 columns][2 inputs].
inline constexpr std::int64_t kGroupBytes = kColumns * 4 + kGroup * kColumns;
/// Of an MXFP4 panel: scales [4 blocks of 32 inputs][32 columns], a byte each, then
/// [16 steps][32 columns][8 inputs], four bits each, lowest first.
inline constexpr std::int64_t kMxfp4GroupBytes = kGroup + kGroup * kColumns / 2;

/// An int8 row may have a second plane of bytes, for what the first leaves over: an input is then
/// scale * (254 * first + second), and neither plane holds -128.
inline constexpr std::int32_t kPlaneRadix = 254;

/// Where byte x of a packed row r is: at r * row_stride + x; or, in tiles of up to 16 rows x 64
/// bytes one behind the other, at r / 16 * block_stride + x / 64 * tile_bytes + r % 16 * 64 + x
/// % 64.
struct Layout {
  std::int64_t row_stride = 0;
  std::int64_t tile_bytes = 0;  ///< 0: no tiles
  std::int64_t block_stride = 0;
};

/// sums[r][c] += rows[r] . column c, over a run of inputs that starts and, but for the last one of
/// a panel, ends at a multiple of 128.
struct Block {
  const std::byte* panel = nullptr;  ///< where the run starts in a panel of 32 columns
  const std::byte* rows = nullptr;   ///< where the run starts in packed row 0
  Layout layout;
  std::int64_t second_plane = 0;     ///< int8: bytes from the first plane to the second; 0: none
  const std::byte* notes = nullptr;  ///< int8: of row 0 and the first group: scale, -128 * sum
  std::int64_t notes_stride = 0;     ///< bytes from row to row
  std::int64_t num_rows = 0;
  std::int64_t depth = 0;            ///< inputs of the run
  bool first = false;                ///< the sums start at 0
  float* sums = nullptr;             ///< [num_rows rounded up to 16][32]
  const std::byte* fetch = nullptr;  ///< to be brought into the second cache meanwhile, if any
  std::int64_t fetch_bytes = 0;
  std::int64_t part = 0;  ///< of that, which this block is to bring
  std::int64_t parts = 1;
};

/// Rows on their way into the packed form.
struct Rows {
  const float* const* rows = nullptr;
  const float* gates = nullptr;  ///< one a row, or none
  std::int64_t num_rows = 0;
  std::int64_t depth = 0;
  std::byte* packed = nullptr;  ///< room for a multiple of 16 rows
  Layout layout;
  std::int64_t second_plane = 0;  ///< as in Block
  std::byte* notes = nullptr;
  std::int64_t notes_stride = 0;
};

/// Columns of some packed rows, out of sums.
struct Values {
  const float* values = nullptr;  ///< [num_rows][32]
  std::int64_t first_row = 0;     ///< of the packed ones
  std::int64_t num_rows = 0;
  std::int64_t count = 0;  ///< values of a row, up to 32
  std::int64_t first = 0;  ///< byte of the packed row where they go, in one line of 64
  std::byte* packed = nullptr;
  Layout layout;
};

/// One way to make products, with the instructions it needs.
struct Kernels {
  const char* name = nullptr;  ///< of the bits: "amx-bf16", "avx512-bf16", "int8", "float32"
  const char* engine =
      nullptr;  ///< of the instructions: as name, or "amx-int8", "avx512-vnni", ...
  std::int64_t element_bytes = 0;     ///< of a packed row: 2 (bfloat16), 1 (int8), 4 (float32)
  std::int64_t group_note_bytes = 0;  ///< of a row and group: 8 (int8), or none
  std::int64_t rows_a_block = 0;      ///< up to here a panel is gone through only once
  bool tiles = false;  ///< rows are packed in tiles, and a block has rows_a_block of them at most
  void (*begin)(std::int64_t num_rows) = nullptr;  ///< before the first accumulate of a thread
  void (*end)() = nullptr;                         ///< after the last
  /// Each row times its gate, rounded to what the products take; inputs past the depth are 0.
  void (*pack_rows)(const Rows& rows) = nullptr;
  /// Bfloat16: some values of the middle into packed rows.
  void (*pack_values)(const Values& values) = nullptr;
  void (*accumulate)(const Block& block) = nullptr;
};

// Only for processors that have them (dispatch.hpp knows).
[[nodiscard]] Kernels amx_bfloat16();
[[nodiscard]] Kernels amx_int8();
[[nodiscard]] Kernels avx512_bfloat16();
[[nodiscard]] Kernels avx512_int8();
[[nodiscard]] Kernels avx512_widened_int8();
[[nodiscard]] Kernels avx2_int8();
[[nodiscard]] Kernels avx2_widened_int8();
[[nodiscard]] Kernels portable_int8();
[[nodiscard]] Kernels portable_widened_int8();
[[nodiscard]] Kernels avx512_fp8();
[[nodiscard]] Kernels avx512_mxfp4();
[[nodiscard]] Kernels avx2_fp8();
[[nodiscard]] Kernels avx2_mxfp4();
[[nodiscard]] Kernels portable_fp8();
[[nodiscard]] Kernels portable_mxfp4();
}  // namespace switchyard::experts::dot
