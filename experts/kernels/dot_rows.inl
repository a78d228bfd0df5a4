// SPDX-License-Identifier: Apache-2.0
// Loops over rows for the kernels that keep the sums of a few rows in registers.
#pragma once
namespace switchyard::experts::dot {
namespace {

template <unsigned kValue>
struct Index {
  static constexpr unsigned value = kValue;
};
/// Calls f(Index<0>), f(Index<1>), ...: unrolled by the language, not by the optimizer's leave.
template <unsigned kCount, unsigned kFirst = 0, class F>
[[gnu::always_inline]] inline void unrolled(const F& f) {
  if constexpr (kFirst < kCount) {
    f(Index<kFirst>{});
    unrolled<kCount, kFirst + 1>(f);
  }
}

/// Rows at equal distances, three to a pointer: an address can add the distance once or twice by
/// itself, and twelve pointers would not leave a register for anything else.
template <unsigned kRows>
struct RowPointers {
  const std::byte* base[(kRows + 2) / 3];
  std::int64_t stride;
  [[gnu::always_inline]] RowPointers(const std::byte* rows, std::int64_t row_stride)
      : stride(row_stride) {
    for (unsigned i = 0; i < (kRows + 2) / 3; ++i) base[i] = rows + 3 * i * row_stride;
  }
  /// The k-th four bytes of row r.
  template <unsigned kRow>
  [[gnu::always_inline]] std::int32_t word(Index<kRow>, std::int64_t k) const {
    std::int32_t value;
    __builtin_memcpy(&value, base[kRow / 3] + kRow % 3 * stride + 4 * k, sizeof value);
    return value;
  }
  template <unsigned kRow>
  [[gnu::always_inline]] float number(Index<kRow> row, std::int64_t k) const {
    return __builtin_bit_cast(float, word(row, k));
  }
};

template <class Type, unsigned kRows>
void run_of(std::int64_t rows, const Block& b, std::int64_t first_row, const Streams& ahead) {
  if (rows == kRows) return Type::template run<kRows>(b, first_row, ahead);
  if constexpr (kRows > 1) run_of<Type, kRows - 1>(rows, b, first_row, ahead);
}

/// All rows of a block in as few groups as the registers allow, of about the same size.
/// @tparam kDepth  inputs between two fetches
template <class Type, unsigned kMaxRows, std::int64_t kDepth>
void each_rows(const Block& b) {
  const std::int64_t groups = (b.num_rows + kMaxRows - 1) / kMaxRows;
  std::int64_t first = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t rows = (b.num_rows - first + groups - g - 1) / (groups - g);
    run_of<Type, kMaxRows>(rows, b, first, Streams(b, g, groups, (b.depth + kDepth - 1) / kDepth));
    first += rows;
  }
}

template <class Chain, unsigned kRows>
void chain_of(std::int64_t rows, const Chain& chain, const Block& b, std::int64_t first_row,
              std::int64_t first_input, bool first) {
  if (rows == kRows) return chain.template run<kRows>(b, first_row, first_input, first);
  if constexpr (kRows > 1) {
    chain_of<Chain, kRows - 1>(rows, chain, b, first_row, first_input, first);
  }
}

/// Products in float32 of weights that are widened first, a group at a time: what a new stored type
/// needs is its `kWiden`, from a group of a panel to [128][32] float32.
template <class Chain, unsigned kMaxRows, void (*kWiden)(const std::byte*, float*),
          std::int64_t kWideGroupBytes>
void accumulate_widened(const Block& b) {
  alignas(64) float wide[kGroup * kColumns];
  const std::int64_t groups = (b.depth + kGroup - 1) / kGroup;
  Streams ahead(b, 0, 1, groups);
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t left = b.depth - g * kGroup;
    kWiden(b.panel + g * kWideGroupBytes, wide);
    ahead.fetch();
    const Chain chain{wide, left < kGroup ? left : kGroup};
    for (std::int64_t first = 0; first < b.num_rows; first += kMaxRows) {
      const std::int64_t rows = b.num_rows - first;
      chain_of<Chain, kMaxRows>(rows < kMaxRows ? rows : kMaxRows, chain, b, first, g * kGroup,
                                b.first && g == 0);
    }
  }
}
}  // namespace
}  // namespace switchyard::experts::dot
