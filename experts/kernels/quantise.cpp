// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels/quantise.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <stdexcept>
#include <string>

#include "experts/kernels/dispatch.hpp"

namespace switchyard::experts {
namespace {

constexpr std::uint32_t kInfinityBits = 0x7f800000U;

constexpr std::int64_t blocks_for(std::int64_t extent, std::int64_t block) {
  return (extent + block - 1) / block;
}

/// The scale of a block whose largest magnitude has these bits.
float scale_of(std::uint32_t largest, float steps) {
  if (largest >= kInfinityBits) return std::numeric_limits<float>::quiet_NaN();
  const float value = std::bit_cast<float>(largest);
  return value < 0x1p-100F ? 0.0F : value / steps;
}

/// Inputs of an output as floats: in place where they lie so, else in `row`.
const float* floats_of(const WeightView& weight, std::int64_t output, std::vector<float>& row) {
  if (weight.type == DType::kFloat32 && weight.in_stride == 1) {
    return static_cast<const float*>(weight.data) + output * weight.out_stride;
  }
  row.resize(static_cast<std::size_t>(weight.in));
  widen_inputs(weight, output, 0, weight.in, row.data());
  return row.data();
}

/// What quantise makes, an output or a row of blocks after the other.
struct Encoder {
  const WeightView& weight;
  QuantisedMatrix& made;
  BlockShape block;
  std::int64_t columns;                             ///< blocks of inputs
  std::int64_t stride;                              ///< elements from one output to the next
  panel::Kernels kernels = kernels_of(best_isa());  // all of them make the same codes
  std::vector<float> row = {};
  std::vector<std::uint32_t> largest = {};

  [[nodiscard]] std::int64_t inputs_of(std::int64_t b) const {
    return std::min(block.inputs, weight.in - b * block.inputs);
  }

  void mxfp4(std::int64_t o) {
    const std::int64_t whole = weight.in / kMxfp4Block;
    const float* const values = floats_of(weight, o, row);
    std::uint8_t* const codes = made.codes.data() + o * stride / 2;
    std::uint8_t* const scales = made.byte_scales.data() + o * columns;
    kernels.encode_mxfp4(values, whole, codes, scales);
    if (whole == columns) return;
    std::array<float, kMxfp4Block> padded{};
    std::copy(values + whole * kMxfp4Block, values + weight.in, padded.begin());
    kernels.encode_mxfp4(padded.data(), 1, codes + whole * kMxfp4Block / 2, scales + whole);
  }

  /// Outputs [first, end), which share scales; int8 or fp8.
  void scaled(DType to, std::int64_t first, std::int64_t end) {
    largest.assign(static_cast<std::size_t>(columns), 0U);
    for (std::int64_t o = first; o < end; ++o) {
      const float* const values = floats_of(weight, o, row);
      for (std::int64_t b = 0; b < columns; ++b) {
        auto& most = largest[static_cast<std::size_t>(b)];
        most = std::max(most, kernels.largest_bits(values + b * block.inputs, inputs_of(b)));
      }
    }
    float* const scales = made.scales.data() + first / block.outputs * columns;
    for (std::int64_t b = 0; b < columns; ++b) {
      scales[b] =
          scale_of(largest[static_cast<std::size_t>(b)], to == DType::kFp8 ? kFp8Most : 127.0F);
    }
    for (std::int64_t o = first; o < end; ++o) {
      const float* const values = floats_of(weight, o, row);
      std::uint8_t* const codes = made.codes.data() + o * stride;
      for (std::int64_t b = 0; b < columns; ++b) {
        if (!(scales[b] > 0)) continue;  // no number, or nothing but zeros: codes are 0
        const std::int64_t at = b * block.inputs;
        if (to == DType::kFp8) {
          kernels.encode_fp8(values + at, inputs_of(b), scales[b], codes + at);
        } else {
          const float most = std::bit_cast<float>(largest[static_cast<std::size_t>(b)]);
          kernels.encode_int8(values + at, inputs_of(b), 127.0F / most, codes + at);
        }
      }
    }
  }
};

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
  Encoder encoder{weight, made, block, columns, stride};
  for (std::int64_t first = 0; first < weight.out; first += block.outputs) {
    if (mxfp4) {
      encoder.mxfp4(first);
    } else {
      encoder.scaled(to, first, std::min(first + block.outputs, weight.out));
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
