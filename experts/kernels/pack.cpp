// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/pack.hpp"

#include <algorithm>
#include <type_traits>

#include "experts/kernels/panel.hpp"

namespace switchyard::experts {
namespace {

using panel::kColumns;
using panel::kHalf;

/// Elements of the inner dimension that are moved at once: a block of panel stays in the first
/// cache, and a row's cache line is used up before the next row is touched.
constexpr std::int64_t kBlock = 32;

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<To, float>) {
    return widen_bfloat16(value);
  } else {
    return narrow_bfloat16(value);
  }
}

/// Where column c stands in a row of a panel: bfloat16 pairs c with c + 16 in one 32-bit word, low
/// half first, so that a shift and a mask widen them.
template <class To>
constexpr std::int64_t place_of(std::int64_t column) {
  if constexpr (std::is_same_v<To, float>) return column;
  return column < kHalf ? 2 * column : 2 * (column - kHalf) + 1;
}

/// Copies outputs [first_output, first_output + count) into columns from `first_column` of a panel.
template <class To, class From>
void copy_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                  std::int64_t first_column, To* panel) {
  const auto* source = static_cast<const From*>(weight.data) + first_output * weight.out_stride;
  const std::int64_t valid = std::clamp<std::int64_t>(weight.out - first_output, 0, count);
  for (std::int64_t first = 0; first < weight.in; first += kBlock) {
    const std::int64_t last = std::min(first + kBlock, weight.in);
    for (std::int64_t c = 0; c < count; ++c) {
      To* to = panel + place_of<To>(first_column + c);
      if (c >= valid) {
        for (std::int64_t k = first; k < last; ++k) to[k * kColumns] = To{};
        continue;
      }
      const From* from = source + c * weight.out_stride;
      for (std::int64_t k = first; k < last; ++k) {
        to[k * kColumns] = convert<To>(from[k * weight.in_stride]);
      }
    }
  }
}

void copy_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                  std::int64_t first_column, DType stored, void* panels, std::int64_t panel) {
  const auto go = [&]<class To, class From>(To*, From*) {
    copy_columns<To, From>(weight, first_output, count, first_column,
                           static_cast<To*>(panels) + panel * weight.in * kColumns);
  };
  float* wide = nullptr;
  std::uint16_t* narrow = nullptr;
  const bool from_wide = weight.type == DType::kFloat32;
  if (stored == DType::kFloat32) return from_wide ? go(wide, wide) : go(wide, narrow);
  return from_wide ? go(narrow, wide) : go(narrow, narrow);
}

std::int64_t panels_for(std::int64_t outputs, std::int64_t width) {
  return (outputs + width - 1) / width;
}
}  // namespace

std::int64_t panel_bytes(std::int64_t outputs, std::int64_t depth, std::int64_t width,
                         DType stored) {
  return panels_for(outputs, width) * depth * kColumns * size_of(stored);
}

void pack_whole(const WeightView& weight, DType stored, void* panels) {
  for (std::int64_t p = 0; p < panels_for(weight.out, kColumns); ++p) {
    copy_columns(weight, p * kColumns, kColumns, 0, stored, panels, p);
  }
}

void pack_halves(const WeightView& first, const WeightView& second, DType stored, void* panels) {
  for (std::int64_t p = 0; p < panels_for(first.out, kHalf); ++p) {
    copy_columns(first, p * kHalf, kHalf, 0, stored, panels, p);
    copy_columns(second, p * kHalf, kHalf, kHalf, stored, panels, p);
  }
}
}  // namespace switchyard::experts
