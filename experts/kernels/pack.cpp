// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/pack.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

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

/// Converts `count` elements, and fills up with zeros.
template <DType kTo, DType kFrom>
void read_line(const Element<kFrom>* from, std::int64_t stride, std::int64_t count,
               std::array<Element<kTo>, kBlock>& line) {
  auto* const to = line.data();
  if (stride == 1) {
    for (std::int64_t k = 0; k < count; ++k) to[k] = convert<kTo, kFrom>(from[k]);
  } else {
    for (std::int64_t k = 0; k < count; ++k) to[k] = convert<kTo, kFrom>(from[k * stride]);
  }
  std::fill(to + count, to + kBlock, Element<kTo>{});
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
  std::array<Element<kTo>, kBlock> line;
  for (std::int64_t first = 0; first < padded; first += kBlock) {
    const std::int64_t inputs = std::min(kBlock, padded - first);
    Element<kTo>* to = panel + first * kColumns + first_column * kStep;
    for (std::int64_t c = 0; c < count; ++c, to += kStep) {
      const Element<kFrom>* from = source + c * weight.out_stride + first * weight.in_stride;
      read_line<kTo, kFrom>(from, weight.in_stride,
                            c < valid ? std::min(inputs, weight.in - first) : 0, line);
      for (std::int64_t k = 0; k < inputs; k += kStep) {
        std::memcpy(to + k * kColumns, line.data() + k, sizeof(Element<kTo>) * kStep);
      }
    }
  }
}

/// Calls f with a type as a constant.
template <class F>
void with_type(DType type, const F& f) {
  switch (type) {
    case DType::kBfloat16:
      return f(std::integral_constant<DType, DType::kBfloat16>{});
    case DType::kFloat16:
      return f(std::integral_constant<DType, DType::kFloat16>{});
    default:
      return f(std::integral_constant<DType, DType::kFloat32>{});
  }
}

/// Groups of 128 inputs of a panel with scales: what they hold, in bytes.
struct GroupForm {
  std::int64_t scales;  ///< before the codes
  std::int64_t step;    ///< bytes of a column that lie side by side
  std::int64_t inputs;  ///< that they hold
  std::int64_t all;
};
constexpr GroupForm form_of(DType stored) {
  if (stored == DType::kMxfp4) return {dot::kGroup, 4, 8, dot::kMxfp4GroupBytes};
  if (stored == DType::kFp8) return {kColumns * 4, 2, 2, dot::kGroupBytes};
  return {kColumns * 4, 4, 4, dot::kGroupBytes};
}

/// Codes [first, first + 128) of an output into zeros; whether one is NaN.
bool read_codes(const WeightView& weight, std::int64_t output, std::int64_t first,
                std::uint8_t* codes) {
  const std::int64_t count = std::min(dot::kGroup, weight.in - first);
  const auto* from = static_cast<const std::uint8_t*>(weight.data) +
                     bytes_of(weight.type, output * weight.out_stride + first * weight.in_stride);
  if (weight.type == DType::kMxfp4) {
    std::copy_n(from, (count + 1) / 2, codes);
    if (count % 2 != 0) codes[count / 2] &= 15U;
    return false;
  }
  for (std::int64_t i = 0; i < count; ++i) codes[i] = from[i * weight.in_stride];
  if (weight.type != DType::kFp8) return false;
  unsigned nans = 0;
  for (std::int64_t i = 0; i < dot::kGroup; ++i) nans |= is_fp8_nan(codes[i]) ? 1U : 0U;
  return nans != 0;
}

/// Codes and scales of outputs [first_output, first_output + count), as they are.
void copy_codes(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                std::int64_t first_column, std::byte* panel) {
  const GroupForm form = form_of(weight.type);
  const bool mxfp4 = weight.type == DType::kMxfp4;
  alignas(64) std::array<std::uint8_t, dot::kGroup> codes{};
  for (std::int64_t first = 0; first < weight.in; first += dot::kGroup, panel += form.all) {
    auto* const scales = reinterpret_cast<float*>(panel) + first_column;
    auto* const byte_scales = reinterpret_cast<std::uint8_t*>(panel) + first_column;
    for (std::int64_t c = 0; c < count; ++c) {
      const std::int64_t output = first_output + c;
      const bool here = output < weight.out;
      codes.fill(0);
      const bool nan = here && read_codes(weight, output, first, codes.data());
      for (std::int64_t b = 0; mxfp4 && b < dot::kGroup / kMxfp4Block; ++b) {
        const std::int64_t input = first + b * kMxfp4Block;
        byte_scales[b * kColumns + c] =
            here && input < weight.in ? static_cast<const std::uint8_t*>(
                                            weight.scales.data)[weight.scales.index(output, input)]
                                      : std::uint8_t{0};
      }
      if (!mxfp4) {
        scales[c] = nan    ? std::numeric_limits<float>::quiet_NaN()
                    : here ? weight.scale(output, first)
                           : 0.0F;
      }
      std::byte* to = panel + form.scales + (first_column + c) * form.step;
      for (std::int64_t k = 0; k < bytes_of(weight.type, dot::kGroup); k += form.step) {
        std::memcpy(to, codes.data() + k, static_cast<std::size_t>(form.step));
        to += kColumns * form.step;
      }
    }
  }
}

void copy_columns(const WeightView& weight, std::int64_t first_output, std::int64_t count,
                  std::int64_t first_column, DType stored, void* panels, std::int64_t panel) {
  auto* at = static_cast<std::byte*>(panels) + panel * panel_stride(weight.in, stored);
  if (is_scaled(stored)) return copy_codes(weight, first_output, count, first_column, at);
  with_type(stored, [&](auto to) {
    with_type(weight.type, [&](auto from) {
      copy_columns<to(), from()>(weight, first_output, count, first_column,
                                 static_cast<Element<to()>*>(static_cast<void*>(at)));
    });
  });
}

/// Outputs that are rounded or widened at once: they stay in a cache, and FP8's blocks whole.
constexpr std::int64_t kBand = 128;

/// Calls f(view, first) for bands of a matrix, in a type that copy_columns takes for `stored`;
/// outputs of the view are those from `first` on.
template <class F>
void each_band(const WeightView& weight, DType stored, const F& f) {
  const bool rounds = is_scaled(stored) && !fits_panels(weight, stored);
  const bool widens = !is_scaled(stored) && is_scaled(weight.type);
  if (!rounds && !widens) return f(weight, std::int64_t{0});
  std::vector<float> widened;
  for (std::int64_t first = 0; first < weight.out; first += kBand) {
    const std::int64_t count = std::min(kBand, weight.out - first);
    WeightView band = weight;
    if (is_scaled(weight.type)) {
      widened.resize(static_cast<std::size_t>(count * weight.in));
      for (std::int64_t o = 0; o < count; ++o) {
        widen_inputs(weight, first + o, 0, weight.in, widened.data() + o * weight.in);
      }
      band = {widened.data(), DType::kFloat32, count, weight.in, weight.in, 1};
    } else {
      band.data = static_cast<const std::byte*>(weight.data) +
                  bytes_of(weight.type, first * weight.out_stride);
      band.out = count;
    }
    if (rounds) {
      const QuantisedMatrix quantised = quantise(band, stored);
      f(quantised.view, first);
    } else {
      f(band, first);
    }
  }
}

/// Panels of `width` outputs, from `column` on in each.
void pack_columns(const WeightView& weight, std::int64_t width, std::int64_t column, DType stored,
                  void* panels) {
  each_band(weight, stored, [&](const WeightView& band, std::int64_t first) {
    for (std::int64_t p = 0; p < panels_for(band.out, width); ++p) {
      copy_columns(band, p * width, width, column, stored, panels, first / width + p);
    }
  });
}

/// The same for some outputs.
void repack_columns(const WeightView& weight, Outputs changed, std::int64_t width,
                    std::int64_t column, DType stored, void* panels) {
  const std::int64_t end = changed.first + changed.count;
  if (is_scaled(weight.type) || changed.first < 0 || changed.count < 0 || end > weight.out) {
    throw std::invalid_argument("repack: outputs " + std::to_string(changed.first) + " to " +
                                std::to_string(end) + " of " + std::string(name_of(weight.type)) +
                                " weights, want some of 0 to " + std::to_string(weight.out) +
                                " of a type without scales");
  }
  if (changed.count == 0) return;
  const std::int64_t unit = is_scaled(stored) ? kBand : width;  // a band's scales are made at once
  const std::int64_t begin = changed.first / unit * unit;
  WeightView part = weight;
  part.data =
      static_cast<const std::byte*>(weight.data) + bytes_of(weight.type, begin * weight.out_stride);
  part.out = std::min((end + unit - 1) / unit * unit, weight.out) - begin;
  auto* const at =
      static_cast<std::byte*>(panels) + begin / width * panel_stride(weight.in, stored);
  pack_columns(part, width, column, stored, at);
}
}  // namespace

bool fits_panels(const WeightView& weight, DType stored) {
  if (weight.type != stored) return false;
  if (!is_scaled(stored)) return true;
  const BlockScales& scales = weight.scales;
  if (stored != DType::kMxfp4) {
    return scales.in_block % dot::kGroup == 0 || scales.in_block >= weight.in;
  }
  return scales.in_block == kMxfp4Block && weight.in_stride == 1 && weight.out_stride % 2 == 0;
}

std::int64_t panel_stride(std::int64_t depth, DType stored) {
  if (is_scaled(stored)) return panels_for(depth, dot::kGroup) * form_of(stored).all;
  const std::int64_t step = depth_of_step(stored);
  return (depth + step - 1) / step * step * bytes_of(stored, kColumns);
}

std::int64_t panel_bytes(std::int64_t outputs, std::int64_t depth, std::int64_t width,
                         DType stored) {
  return panels_for(outputs, width) * panel_stride(depth, stored);
}

void pack_whole(const WeightView& weight, DType stored, void* panels) {
  pack_columns(weight, kColumns, 0, stored, panels);
}

void pack_halves(const WeightView& first, const WeightView& second, DType stored, void* panels) {
  pack_columns(first, kHalf, 0, stored, panels);
  pack_columns(second, kHalf, kHalf, stored, panels);
}

void repack_whole(const WeightView& weight, Outputs changed, DType stored, void* panels) {
  repack_columns(weight, changed, kColumns, 0, stored, panels);
}

void repack_halves(const WeightView& first, const WeightView& second, Outputs changed, DType stored,
                   void* panels) {
  repack_columns(first, changed, kHalf, 0, stored, panels);
  repack_columns(second, changed, kHalf, kHalf, stored, panels);
}
}  // namespace switchyard::experts
