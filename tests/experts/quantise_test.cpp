// SPDX-License-Identifier: Apache-2.0
// Types with scales: what is made of floats, against rules computed in double; and panels of views
// that hold codes already.
#include "experts/kernels/quantise.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <string>
#include <vector>

#include "experts/ffn.hpp"
#include "experts/kernels/dispatch.hpp"
#include "experts/kernels/pack.hpp"
#include "tests/experts/random_expert.hpp"
#include "tests/experts/run_expert.hpp"

namespace switchyard::experts {
namespace {

constexpr DType kScaled[] = {DType::kInt8, DType::kFp8, DType::kMxfp4};

WeightView view_of(const std::vector<float>& values, std::int64_t out, std::int64_t in) {
  return {values.data(), DType::kFloat32, out, in, in, 1};
}

/// Half the distance of neighbouring values of the type about `value`, which its block's scale
/// divides, in double; and what saturating costs.
double worst_error(DType type, double value, double largest) {
  const double size = std::abs(value);
  if (type == DType::kInt8) return largest / 127 * 0.5001;
  if (type == DType::kFp8) {
    const double scale = largest / 448;
    const double step = std::exp2(std::max(std::floor(std::log2(size / scale)), -6.0) - 3);
    return scale * step * 0.5001;
  }
  const double scale = std::exp2(std::floor(std::log2(largest)) - 2);
  if (size > 6 * scale) return size - 6 * scale + 1e-30;
  const double step = size < 2 * scale ? 0.5 : size < 4 * scale ? 1 : 2;
  return scale * step * 0.5001;
}

TEST(Quantise, EveryValueIsAsCloseAsItsBlockAllows) {
  std::mt19937 generator(8);
  for (const DType type : kScaled) {
    for (const auto& [out, in] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                                  {3, 31},
                                  {130, 257},
                                  {128, 128},
                                  {300, 96}}) {
      const std::vector<float> values = normal_values(out * in, 0.02F, generator);
      const QuantisedMatrix matrix = quantise(view_of(values, out, in), type);
      const BlockShape block = blocks_of(type);
      for (std::int64_t o = 0; o < out; ++o) {
        for (std::int64_t i = 0; i < in; ++i) {
          double largest = 0;
          const std::int64_t first_o = o / block.outputs * block.outputs;
          const std::int64_t first_i = i / block.inputs * block.inputs;
          for (std::int64_t p = first_o; p < std::min(first_o + block.outputs, out); ++p) {
            for (std::int64_t q = first_i; q < std::min(first_i + block.inputs, in); ++q) {
              largest = std::max(
                  largest,
                  std::abs(static_cast<double>(values[static_cast<std::size_t>(p * in + q)])));
            }
          }
          const double value = static_cast<double>(values[static_cast<std::size_t>(o * in + i)]);
          ASSERT_NEAR(static_cast<double>(matrix.view.at(o, i)), value,
                      worst_error(type, value, largest))
              << name_of(type) << " " << out << " x " << in << " at " << o << ", " << i;
        }
      }
    }
  }
}

double rms_error(const std::vector<float>& values, std::int64_t in, DType type) {
  const auto out = static_cast<std::int64_t>(values.size()) / in;
  const QuantisedMatrix matrix = quantise(view_of(values, out, in), type);
  double errors = 0;
  double squares = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const double error =
        static_cast<double>(matrix.view.at(at / in, at % in)) - static_cast<double>(values[i]);
    errors += error * error;
    squares += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return std::sqrt(errors / squares);
}

TEST(Quantise, NormalWeightsCostWhatTheTypesAreKnownToCost) {
  std::mt19937 generator(1);
  const std::vector<float> values = normal_values(256 * 1024, 0.02F, generator);
  // A step of int8 is 2.7 deviations over 127; e4m3 has 3 fraction bits: 2^-4 over sqrt(3), over
  // the mean of an octave; e2m1 in blocks of 32 about 0.11.
  EXPECT_NEAR(rms_error(values, 1024, DType::kInt8), 0.0061, 0.0006);
  EXPECT_NEAR(rms_error(values, 1024, DType::kFp8), 0.0265, 0.003);
  EXPECT_NEAR(rms_error(values, 1024, DType::kMxfp4), 0.115, 0.015);
}

TEST(Quantise, ABlockWithoutANumberIsNanAndItsNeighboursAreNot) {
  for (const DType type : kScaled) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      std::vector<float> values(256 * 256, 0.5F);
      values[130 * 256 + 200] = bad;
      const QuantisedMatrix matrix = quantise(view_of(values, 256, 256), type);
      EXPECT_TRUE(std::isnan(matrix.view.at(130, 200))) << name_of(type);
      EXPECT_TRUE(std::isnan(matrix.view.at(130, 201))) << name_of(type);
      EXPECT_NEAR(matrix.view.at(130, 127), 0.5F, 1e-6F) << name_of(type);
      EXPECT_NEAR(matrix.view.at(127, 200), 0.5F, 1e-6F) << name_of(type);
    }
  }
}

TEST(Quantise, ZerosAndTheSmallestStayFiniteAndTheLargestDoNotOverflow) {
  for (const DType type : kScaled) {
    for (const float value :
         {0.0F, std::numeric_limits<float>::denorm_min(), 0x1p-126F, 0x1.fp+127F}) {
      const std::vector<float> values(40, value);
      const float got = quantise(view_of(values, 1, 40), type).view.at(0, 39);
      EXPECT_TRUE(std::isfinite(got)) << name_of(type) << " " << value;
      EXPECT_GE(got, 0.0F);
      if (value > 1) {
        EXPECT_GT(got, value * 0.7F) << name_of(type);
      }
    }
  }
}

/// An expert's views of codes: gate and up are halves of one matrix, or take turns in it, so that a
/// panel has columns of several block rows.
struct Coded {
  QuantisedMatrix both, down;
  ExpertTensors tensors;
  Coded(const std::vector<float>& both_values, const std::vector<float>& down_values,
        const ExpertSpec& spec, DType type, bool turns) {
    both = quantise(view_of(both_values, 2 * spec.width, spec.hidden), type);
    down = quantise(view_of(down_values, spec.hidden, spec.width), type);
    const auto half = [&](std::int64_t which) {
      WeightView view = both.view;
      view.out = spec.width;
      const std::int64_t first = turns ? which : which * spec.width;
      view.data = both.codes.data() + bytes_of(type, first * view.out_stride);
      if (turns) view.out_stride *= 2;
      view.scales.out_step = turns ? 2 : 1;
      view.scales.out_first = first;
      return view;
    };
    tensors.gate = half(0);
    tensors.up = half(1);
    tensors.down = down.view;
  }
};

/// The same numbers as floats.
std::vector<float> values_of(const WeightView& view) {
  std::vector<float> values;
  for (std::int64_t o = 0; o < view.out; ++o) {
    for (std::int64_t i = 0; i < view.in; ++i) values.push_back(view.at(o, i));
  }
  return values;
}

TEST(Quantise, PanelsHoldTheCodesAndScalesOfAViewExactly) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 290, 203, false};
  std::mt19937 generator(3);
  const std::vector<float> both = normal_values(2 * spec.width * spec.hidden, 0.1F, generator);
  const std::vector<float> down = normal_values(spec.width * spec.hidden, 0.1F, generator);
  for (const DType type : kScaled) {
    for (const bool turns : {false, true}) {
      const Coded coded(both, down, spec, type, turns);
      const std::vector<float> gate = values_of(coded.tensors.gate);
      const std::vector<float> up = values_of(coded.tensors.up);
      const std::vector<float> back = values_of(coded.tensors.down);
      ExpertTensors wide;
      wide.gate = view_of(gate, spec.width, spec.hidden);
      wide.up = view_of(up, spec.width, spec.hidden);
      wide.down = view_of(back, spec.hidden, spec.width);
      const Batch rows(17, spec.hidden, 4);
      for (const Isa isa : isas_here()) {
        const std::vector<float> want =
            output_of(PackedExpert(spec, wide, DType::kFloat32, isa), rows);
        EXPECT_TRUE(same_bits(output_of(PackedExpert(spec, coded.tensors, type, isa), rows), want))
            << name_of(type) << (turns ? ", in turns, " : ", halves, ") << name_of(isa);
        // Widened to float32 while it is packed.
        EXPECT_TRUE(same_bits(
            output_of(PackedExpert(spec, coded.tensors, DType::kFloat32, isa), rows), want))
            << name_of(type);
      }
    }
  }
}

TEST(Quantise, TransposedCodesAndEveryCodeGoThroughThePanels) {
  // All 254 numbers of e4m3, twice, with scales that make products subnormal or large.
  constexpr std::int64_t kIn = 127;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(kIn * 4));
  for (std::int64_t i = 0; i < kIn; ++i) {
    for (std::int64_t o = 0; o < 4; ++o) {
      codes[static_cast<std::size_t>(i * 4 + o)] =
          static_cast<std::uint8_t>(o % 2 == 0 ? i : 128 + i);
    }
  }
  const std::vector<float> scales = {0x1p-140F, 0x1.fp+100F};
  const WeightView up{
      .data = codes.data(),
      .type = DType::kFp8,
      .out = 4,
      .in = kIn,
      .out_stride = 1,
      .in_stride = 4,
      .scales = {.data = scales.data(), .out_block = 2, .in_block = 128, .out_stride = 1}};
  ASSERT_TRUE(fits_panels(up, DType::kFp8));
  const ExpertSpec spec{Unit::kPlain, Activation::kRelu, kIn, 4, false};
  Weights weights(spec, 1);
  weights.tensors.up = up;
  const std::vector<float> wide = values_of(up);
  EXPECT_EQ(wide[1], 0x1p-149F);
  EXPECT_EQ(wide[126], 448.0F * 0x1p-140F);
  ExpertTensors plain = weights.tensors;
  plain.up = view_of(wide, 4, kIn);
  const std::vector<float> down = values_of(quantise(weights.tensors.down, DType::kFp8).view);
  plain.down = view_of(down, kIn, 4);
  const Batch rows(14, kIn, 2);
  for (const Isa isa : isas_here()) {
    EXPECT_TRUE(same_bits(output_of(PackedExpert(spec, weights.tensors, DType::kFp8, isa), rows),
                          output_of(PackedExpert(spec, plain, DType::kFloat32, isa), rows)))
        << name_of(isa);
  }
}

TEST(Quantise, ScalesOfOtherBlocksDoNotFitPanelsAndAreRoundedAnew) {
  const std::vector<std::uint8_t> codes(64 * 192, 0x38);  // 1
  const std::vector<float> scales = {1, 2, 3};
  const WeightView view{.data = codes.data(),
                        .type = DType::kFp8,
                        .out = 64,
                        .in = 192,
                        .out_stride = 192,
                        .scales = {.data = scales.data(), .out_block = 64, .in_block = 64}};
  EXPECT_FALSE(fits_panels(view, DType::kFp8));
  EXPECT_FALSE(fits_panels(view, DType::kInt8));
  EXPECT_EQ(view.at(63, 130), 3.0F);
  EXPECT_NEAR(quantise(view, DType::kFp8).view.at(0, 70), 2.0F, 0.01F);
}

TEST(Quantise, ANanCodeSpoilsItsGroupOnEveryProcessor) {
  const ExpertSpec spec{Unit::kPlain, Activation::kRelu, 256, 3, false};
  Weights weights(spec, 1);
  QuantisedMatrix matrix = quantise(weights.tensors.down, DType::kFp8);
  matrix.codes[5 * 3 + 1] = 0xff;
  weights.tensors.down = matrix.view;
  const Batch rows(2, 256, 2);
  for (const Isa isa : isas_here()) {
    Batch batch(2, 256, 2);
    AlignedBuffer scratch;
    PackedExpert(spec, weights.tensors, DType::kFp8, isa)
        .run(batch.rows, {}, batch.results, scratch);
    EXPECT_TRUE(std::isnan(batch.results[0][5])) << name_of(isa);
    EXPECT_FALSE(std::isnan(batch.results[0][4])) << name_of(isa);
  }
}

/// Values of every exponent that codes can have, ties and both sides of them.
std::vector<float> values_around(float least, float most) {
  std::vector<float> values = {0.0F, -0.0F, least, most};
  std::mt19937 generator(4);
  for (float edge = least; edge <= most; edge *= 1.0625F) {
    for (const float value : {edge, std::nextafter(edge, 0.0F), std::nextafter(edge, most)}) {
      values.push_back(generator() % 2 == 0 ? value : -value);
    }
  }
  for (float tie = 0.25F; tie < most; tie += 0.25F) values.push_back(tie);
  while (values.size() % 32 != 0) values.push_back(most);
  return values;
}

TEST(Quantise, EveryProcessorMakesTheCodesOfTheOneValueConversions) {
  for (const Isa isa : isas_here()) {
    SCOPED_TRACE(name_of(isa));
    const panel::Kernels kernels = kernels_of(isa);
    const std::vector<float> fp8 = values_around(0x1p-12F, 448.0F);
    std::vector<std::uint8_t> codes(fp8.size());
    for (const float scale : {1.0F, 0.3F, 7.0F}) {
      const auto count = static_cast<std::int64_t>(fp8.size()) - 3;  // fills no vector
      kernels.encode_fp8(fp8.data(), count, scale, codes.data());
      for (std::size_t i = 0; i < fp8.size() - 3; ++i) {
        ASSERT_EQ(codes[i], narrow_fp8(fp8[i] / scale)) << fp8[i] << " / " << scale;
      }
    }
    const std::vector<float> fp4 = values_around(0x1p-4F, 7.75F);  // 2^2 is the scale
    const auto blocks = static_cast<std::int64_t>(fp4.size() / 32);
    std::vector<std::uint8_t> scales(static_cast<std::size_t>(blocks));
    kernels.encode_mxfp4(fp4.data(), blocks, codes.data(), scales.data());
    for (std::size_t i = 0; i < fp4.size(); ++i) {
      const std::uint8_t code = i % 2 == 0 ? codes[i / 2] & 15U : codes[i / 2] >> 4U;
      ASSERT_EQ(code, narrow_fp4(fp4[i] / widen_e8m0(scales[i / 32]))) << fp4[i];
    }
    for (const std::int64_t count : {1, 15, 33, 128}) {
      std::vector<float> values(static_cast<std::size_t>(count), -0x1p-149F);
      values.back() = -3.0F;
      EXPECT_EQ(kernels.largest_bits(values.data(), count), std::bit_cast<std::uint32_t>(3.0F));
      values.front() = std::numeric_limits<float>::quiet_NaN();
      EXPECT_GT(kernels.largest_bits(values.data(), count), 0x7f800000U);
    }
  }
}

TEST(Quantise, OnlyTypesWithScalesAreMade) {
  const std::vector<float> values(4, 1.0F);
  EXPECT_THROW(static_cast<void>(quantise(view_of(values, 2, 2), DType::kBfloat16)),
               std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::experts
