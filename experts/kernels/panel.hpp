// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The door to the three builds of the kernels (panel.inl and philox.inl, once an instruction set).
/// Plain structs and function pointers only: what the wide files include must have no inline
/// functions, or the linker could give a wide copy of one to a processor that cannot run it.
#include <cstdint>

namespace switchyard::experts::panel {

inline constexpr std::int64_t kColumns = 32;    ///< outputs of one panel
inline constexpr std::int64_t kHalf = 16;       ///< where the second part of a split panel starts
inline constexpr std::int64_t kMostRows = 192;  ///< that go through a product at once

/// What becomes of the 32 sums of a row once they are complete.
enum class Finish {
  kStore,     ///< + bias, to the row's result
  kGated,     ///< columns [0, 16) are gates, [16, 32) ups: the unit's 16 values, packed
  kPlain,     ///< act(sum + bias), packed
  kMultiply,  ///< multiplies what is already there, packed
};
enum class Act { kSilu, kGeluErf, kGeluTanh, kRelu, kClampedSwiglu };

/// Types of panels whose products are float32; how a panel lies is in experts/README.md.
enum class Stored { kFloat32, kBfloat16, kFloat16 };

/// One product over panels of a matrix and all rows. "Packed" is the layout of `x`: rows in
/// groups, first_of_group(g) * depth elements from the start, each group [depth][rows in it].
struct Product {
  const void* panels = nullptr;  ///< panel 0; 64-byte aligned
  Stored stored = Stored::kFloat32;
  std::int64_t first_panel = 0;  ///< this one ...
  std::int64_t end_panel = 0;    ///< ... up to the one before this are worked on
  std::int64_t depth = 0;        ///< inputs
  std::int64_t outputs = 0;      ///< of the matrix (kGated: of each of the two)
  const float* bias = nullptr;   ///< [all panels, 32] in the order of columns, or none
  const void* next = nullptr;    ///< what will be read after these panels, if it is known
  const float* x = nullptr;      ///< packed rows
  bool any_order = false;  ///< of additions: to see what the one order costs, and for nothing else
  std::int64_t rows = 0;   ///< at most kMostRows
  Finish finish = Finish::kStore;
  Act act = Act::kSilu;
  float alpha = 0;                  ///< kClampedSwiglu
  float limit = 0;                  ///< kClampedSwiglu
  float* packed = nullptr;          ///< [rows * outputs], unless kStore
  float* const* results = nullptr;  ///< [rows] addresses of [outputs], kStore
};

/// A run of synthetic numbers: elements [4 * block, 4 * (block + blocks)) of a stream.
struct Uniform {
  std::uint32_t key[2] = {0, 0};
  std::uint32_t layer = 0;
  std::uint32_t id = 0;
  std::uint32_t stream = 0;
  std::uint64_t block = 0;
  std::int64_t blocks = 0;
  float amplitude = 1;
  float* out = nullptr;
};

/// What an instruction set offers.
struct Kernels {
  std::int64_t group_rows = 0;  ///< most rows of one group
  /// Packs rows that lie anywhere, each times its gate (none: as it is).
  void (*pack_rows)(const float* const* rows, const float* gates, std::int64_t num_rows,
                    std::int64_t depth, float* packed) = nullptr;
  void (*run)(const Product& product) = nullptr;
  void (*fill)(const Uniform& uniform) = nullptr;
  /// For sums that other kernels made, in place: adds the bias of the panel and, where the finish
  /// is kGated or kPlain, makes of them the unit's values, in the first columns.
  /// @param sums  [num_rows][32], 64-byte aligned
  void (*finish)(const Product& product, std::int64_t panel, std::int64_t num_rows,
                 float* sums) = nullptr;
  /// out = sum over rows, in order, of weight * row, every operation rounded once.
  void (*sum)(const float* const* rows, const float* weights, std::int64_t num_rows,
              std::int64_t width, float* out) = nullptr;
  /// values = e^(values - m), m the largest of them and of *most, which becomes m; *sum grows by
  /// their sum, 16 interleaved parts in order. -infinity becomes 0 where m is finite.
  /// @param count  a multiple of 16
  void (*exponentials)(float* values, std::int64_t count, float* most, float* sum) = nullptr;
  /// The bits of the largest magnitude; those of a NaN are above those of infinity.
  std::uint32_t (*largest_bits)(const float* values, std::int64_t count) = nullptr;
  /// values * inverse, rounded to integers. @pre they are from -127 to 127
  void (*encode_int8)(const float* values, std::int64_t count, float inverse,
                      std::uint8_t* codes) = nullptr;
  /// values / scale as e4m3. @pre none is NaN
  void (*encode_fp8)(const float* values, std::int64_t count, float scale,
                     std::uint8_t* codes) = nullptr;
  /// Blocks of 32 values: 16 bytes of e2m1 codes and a scale each.
  void (*encode_mxfp4)(const float* values, std::int64_t blocks, std::uint8_t* codes,
                       std::uint8_t* scales) = nullptr;
};

[[nodiscard]] Kernels portable_kernels();
[[nodiscard]] Kernels avx2_kernels();    ///< only for processors that have it
[[nodiscard]] Kernels avx512_kernels();  ///< only for processors that have it
}  // namespace switchyard::experts::panel
