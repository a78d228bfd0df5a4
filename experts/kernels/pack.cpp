// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/pack.hpp"

#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "experts/kernels/dot.hpp"
#include "experts/kernels/panel.hpp"
#include "experts/kernels/quantise.hpp"

namespace switchyard::experts {
namespace {

using panel::kColumns;
using panel::kHalf;

/// Elements of the inner dimension that are moved at once: a block of panel stays in the first
/// cache, and a row's cache line is used up before the next row is touched.
constexpr std::int64_t kBlock = 32;

template <DType kType>
using Element = std::conditional_t<kType == DType::kFloat32, float, std::uint16_t>;

template <DType kTo, DType kFrom>
Element<kTo> convert(Element<kFrom> value) {
  if constexpr (kTo == kFrom) {
    return value;
  } else {
    float wide = 0;
    if constexpr (kFrom == DType::kFloat32) wide = value;
    if constexpr (kFrom == DType::kBfloat16) wide = widen_bfloat16(value);
    if constexpr (kFrom == DType::kFloat16) wide = widen_float16(value);
    if constexpr (kTo == DType::kFloat32) return wide;
    if constexpr (kTo == DType::kBfloat16) return narrow_bfloat16(wide);
    if constexpr (kTo == DType::kFloat16) return narrow_float16(wide);
  }
}

/// Inputs that lie side by side in a column of a panel: what a dot product takes at once.
constexpr std::int64_t depth_of_step(DType stored) {
  return stored == DType::kBfloat16 ? 2 : 1;
}

/// Copies outputs [first_output, first_output + count) into columns from `first_column` of a panel.
template <DType kTo, DType kFrom>
void copy_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                  std::int64_t first_column, Element<kTo>* panel) {
  constexpr std::int64_t kStep = depth_of_step(kTo);
  const auto* source =
      static_cast<const Element<kFrom>*>(weight.data) + first_output * weight.out_stride;
  const std::int64_t valid = std::clamp<std::int64_t>(weight.out - first_output, 0, count);
  const std::int64_t padded = (weight.in + kStep - 1) / kStep * kStep;
  for (std::int64_t first = 0; first < padded; first += kBlock) {
    for (std::int64_t c = 0; c < count; ++c) {
      Element<kTo>* to = panel + (first_column + c) * kStep;
      const auto place = [](std::int64_t k) { return k / kStep * kStep * kColumns + k % kStep; };
      const std::int64_t last = std::min(first + kBlock, padded);
      const std::int64_t filled = c < valid ? std::min(last, weight.in) : first;
      const Element<kFrom>* from = source + c * weight.out_stride;
      for (std::int64_t k = first; k < filled; ++k) {
        to[place(k)] = convert<kTo, kFrom>(from[k * weight.in_stride]);
      }
      for (std::int64_t k = filled; k < last; ++k) to[place(k)] = Element<kTo>{};
    }
  }
}

/// Calls f with a type as a constant.
template <class F>
void with_type(DType type, const F& f) {
  switch (type) {
    case DType::kFloat32:
      return f(std::integral_constant<DType, DType::kFloat32>{});
    case DType::kBfloat16:
      return f(std::integral_constant<DType, DType::kBfloat16>{});
    case DType::kFloat16:
      return f(std::integral_constant<DType, DType::kFloat16>{});
    case DType::kInt8:
      break;
  }
  throw std::invalid_argument("pack: weights of a packed type, want float32, bfloat16 or float16");
}

void copy_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                  std::int64_t first_column, DType stored, void* panels, std::int64_t panel) {
  auto* at = static_cast<std::byte*>(panels) + panel * panel_stride(weight.in, stored);
  if (stored == DType::kInt8) {
    return quantise_columns(weight, first_output, count, first_column, at);
  }
  with_type(stored, [&](auto to) {
    with_type(weight.type, [&](auto from) {
      copy_columns<to(), from()>(weight, first_output, count, first_column,
                                 static_cast<Element<to()>*>(static_cast<void*>(at)));
    });
  });
}
}  // namespace

std::int64_t panel_stride(std::int64_t depth, DType stored) {
  if (stored == DType::kInt8) return panels_for(depth, dot::kGroup) * dot::kGroupBytes;
  const std::int64_t step = depth_of_step(stored);
  return (depth + step - 1) / step * step * kColumns * size_of(stored);
}

std::int64_t panel_bytes(std::int64_t outputs, std::int64_t depth, std::int64_t width,
                         DType stored) {
  return panels_for(outputs, width) * panel_stride(depth, stored);
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
