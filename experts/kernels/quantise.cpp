// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/quantise.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <stdexcept>
#include <string>

namespace switchyard::experts {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000U;

constexpr std::int64_t blocks_for(std::int64_t extent, std::int64_t block) {
  return (extent + block - 1) / block;
}

/// The bits of the largest magnitude, which order as magnitudes do; a NaN is above infinity.
std::uint32_t largest_bits(const float* values, std::int64_t count) {
  std::int32_t most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits =
        static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffU);
    most = bits > most ? bits : most;
  }
  return static_cast<std::uint32_t>(most);
}

/// The scale of a block whose largest magnitude has these bits.
float scale_of(std::uint32_t largest, float steps) {
  if (largest >= kInfinityBits) return std::numeric_limits<float>::quiet_NaN();
  const float value = std::bit_cast<float>(largest);
  return value < 0x1p-100F ? 0.0F : value / steps;
}

void encode_int8(const float* values, std::int64_t count, std::uint32_t largest,
                 std::uint8_t* codes) {
  constexpr float kShift = 0x1.8p23F;  // adding it rounds to an integer
  const float most = std::bit_cast<float>(largest);
  const bool some = largest < kInfinityBits && most >= 0x1p-100F;  // its reciprocal is finite
  const float inverse = some ? 127.0F / most : 0.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    const float rounded = some ? values[i] * inverse + kShift - kShift : 0.0F;
    codes[i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(rounded));
  }
}

void encode_fp8(const float* values, std::int64_t count, float scale, std::uint8_t* codes) {
  const bool some = scale > 0;
  const float by = some ? scale : 1.0F;
  for (std::int64_t i = 0; i < count; ++i) codes[i] = some ? narrow_fp8(values[i] / by) : 0;
}

/// Up to 32 inputs, to 16 bytes.
void encode_mxfp4(const float* values, std::int64_t count, std::uint32_t largest,
                  std::uint8_t* codes, std::uint8_t& scale) {
  std::array<std::uint8_t, kMxfp4Block> each{};
  scale = 255;
  if (largest < kInfinityBits) {
    const std::int32_t exponent = static_cast<std::int32_t>(largest >> 23U) - 2;
    scale = static_cast<std::uint8_t>(std::max(exponent, 0));
    const auto inverse = std::bit_cast<float>((254U - scale) << 23U);
    std::array<float, kMxfp4Block> padded{};
    std::copy_n(values, count, padded.begin());
    for (std::size_t i = 0; i < each.size(); ++i) each[i] = narrow_fp4(padded[i] * inverse);
  }
  for (std::size_t i = 0; i < each.size() / 2; ++i) {
    codes[i] = static_cast<std::uint8_t>(each[2 * i] | each[2 * i + 1] << 4U);
  }
}

template <class Element, class Widen>
void widen_run(const void* data, std::int64_t first, std::int64_t stride, std::int64_t count,
               float* out, const Widen& widen) {
  const auto* from = static_cast<const Element*>(data) + first;
  if (stride == 1) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = widen(from[i]);
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = widen(from[i * stride]);
  }
}
}  // namespace

BlockShape blocks_of(DType scaled) {
  if (scaled == DType::kMxfp4) return {1, kMxfp4Block};
  return {scaled == DType::kFp8 ? 128 : 1, 128};
}

void widen_inputs(const WeightView& weight, std::int64_t output, std::int64_t first,
                  std::int64_t count, float* out) {
  const std::int64_t at = output * weight.out_stride + first * weight.in_stride;
  switch (weight.type) {
    case DType::kFloat32:
      return widen_run<float>(weight.data, at, weight.in_stride, count, out,
                              [](float value) { return value; });
    case DType::kBfloat16:
      return widen_run<std::uint16_t>(weight.data, at, weight.in_stride, count, out,
                                      widen_bfloat16);
    case DType::kFloat16:
      return widen_run<std::uint16_t>(weight.data, at, weight.in_stride, count, out, widen_float16);
    default:
      for (std::int64_t i = 0; i < count; ++i) out[i] = weight.at(output, first + i);
  }
}

QuantisedMatrix quantise(const WeightView& weight, DType to) {
  if (!is_scaled(to)) {
    throw std::invalid_argument("quantise: got " + std::string(name_of(to)) +
                                ", want int8, fp8 or mxfp4");
  }
  const bool mxfp4 = to == DType::kMxfp4;
  const BlockShape block = blocks_of(to);
  const std::int64_t columns = blocks_for(weight.in, block.inputs);
  const std::int64_t stride = mxfp4 ? columns * kMxfp4Block : weight.in;
  const std::int64_t num_scales = blocks_for(weight.out, block.outputs) * columns;
  QuantisedMatrix made;
  made.codes.resize(static_cast<std::size_t>(bytes_of(to, weight.out * stride)));
  (mxfp4 ? made.byte_scales.resize(static_cast<std::size_t>(num_scales))
         : made.scales.resize(static_cast<std::size_t>(num_scales)));
  std::vector<float> row(static_cast<std::size_t>(weight.in));
  std::vector<std::uint32_t> largest(static_cast<std::size_t>(columns));
  for (std::int64_t first = 0; first < weight.out; first += block.outputs) {
    const std::int64_t last = std::min(first + block.outputs, weight.out);
    std::fill(largest.begin(), largest.end(), 0U);
    const auto each_block = [&](const auto& f) {
      for (std::int64_t b = 0; b < columns; ++b) {
        const std::int64_t begin = b * block.inputs;
        f(b, row.data() + begin, std::min(block.inputs, weight.in - begin));
      }
    };
    for (std::int64_t o = first; o < last; ++o) {
      widen_inputs(weight, o, 0, weight.in, row.data());
      each_block([&](std::int64_t b, const float* values, std::int64_t count) {
        auto& most = largest[static_cast<std::size_t>(b)];
        most = std::max(most, largest_bits(values, count));
      });
    }
    const std::int64_t scales = first / block.outputs * columns;
    for (std::int64_t o = first; o < last; ++o) {
      if (last - first > 1) widen_inputs(weight, o, 0, weight.in, row.data());
      std::uint8_t* codes = made.codes.data() + bytes_of(to, o * stride);
      each_block([&](std::int64_t b, const float* values, std::int64_t count) {
        const std::uint32_t most = largest[static_cast<std::size_t>(b)];
        const auto at = static_cast<std::size_t>(scales + b);
        std::uint8_t* out = codes + bytes_of(to, b * block.inputs);
        if (mxfp4) return encode_mxfp4(values, count, most, out, made.byte_scales[at]);
        made.scales[at] = scale_of(most, to == DType::kFp8 ? kFp8Most : 127.0F);
        if (to == DType::kFp8) return encode_fp8(values, count, made.scales[at], out);
        encode_int8(values, count, most, out);
      });
    }
  }
  made.view = {.data = made.codes.data(),
               .type = to,
               .out = weight.out,
               .in = weight.in,
               .out_stride = stride,
               .scales = {.data = mxfp4 ? static_cast<const void*>(made.byte_scales.data())
                                        : made.scales.data(),
                          .out_block = block.outputs,
                          .in_block = block.inputs,
                          .out_stride = columns}};
  return made;
}
}  // namespace switchyard::experts
