// SPDX-License-Identifier: Apache-2.0
// PackedExpert against a scalar restatement of its contract (same bits) and of its formulas in
// double (close), on every instruction set that the processor has.
#include "experts/ffn.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "experts/kernels/activation.hpp"
#include "experts/tensor.hpp"
#include "tests/experts/random_expert.hpp"
#include "tests/experts/run_expert.hpp"

namespace switchyard::experts {
namespace {

constexpr std::array kStored = {DType::kFloat32, DType::kBfloat16, DType::kFloat16};

/// The weight as it is stored in the panels.
float stored_at(const WeightView& weight, DType stored, std::int64_t o, std::int64_t i) {
  const float value = weight.at(o, i);
  if (stored == DType::kBfloat16) return widen_bfloat16(narrow_bfloat16(value));
  return stored == DType::kFloat16 ? widen_float16(narrow_float16(value)) : value;
}

float chain(const WeightView& weight, DType stored, std::int64_t o, std::span<const float> x) {
  float sum = 0.0F;
  for (std::int64_t i = 0; i < weight.in; ++i) {
    sum = std::fma(stored_at(weight, stored, o, i), x[static_cast<std::size_t>(i)], sum);
  }
  return sum;
}

std::vector<float> scalar_expert(const ExpertSpec& spec, const ExpertTensors& t, DType stored,
                                 std::span<const float> row, float gate_on_input) {
  std::vector<float> x(row.begin(), row.end());
  for (float& value : x) value *= gate_on_input;
  const auto with_bias = [](float sum, const std::vector<float>& bias, std::int64_t o) {
    return bias.empty() ? sum : sum + bias[static_cast<std::size_t>(o)];
  };
  std::vector<float> h(static_cast<std::size_t>(spec.width));
  for (std::int64_t o = 0; o < spec.width; ++o) {
    const float u = with_bias(chain(t.up, stored, o, x), t.up_bias, o);
    float value = 0.0F;
    if (spec.unit == Unit::kPlain) {
      value = activate(spec.activation, u);
    } else {
      value = gated_unit(spec, with_bias(chain(t.gate, stored, o, x), t.gate_bias, o), u);
    }
    if (spec.unit == Unit::kTrilinear) value *= chain(t.linear, stored, o, x);
    h[static_cast<std::size_t>(o)] = value;
  }
  std::vector<float> y(static_cast<std::size_t>(spec.hidden));
  for (std::int64_t o = 0; o < spec.hidden; ++o) {
    y[static_cast<std::size_t>(o)] = with_bias(chain(t.down, stored, o, h), t.down_bias, o);
  }
  return y;
}

void expect_same_bits(const ExpertSpec& spec, const ExpertTensors& tensors, DType stored,
                      std::int64_t num_rows, bool gates_on_input, const std::string& what) {
  std::vector<float> gates;
  std::mt19937 generator(3);
  if (gates_on_input) gates = normal_values(num_rows, 1.0F, generator);
  std::vector<std::vector<float>> want;
  {
    const Batch batch(num_rows, spec.hidden, 5);
    for (std::size_t r = 0; r < batch.rows.size(); ++r) {
      want.push_back(
          scalar_expert(spec, tensors, stored, batch.row(r), gates.empty() ? 1.0F : gates[r]));
    }
  }
  for (const Isa isa : isas_here()) {
    Batch batch(num_rows, spec.hidden, 5);
    AlignedBuffer scratch;
    PackedExpert(spec, tensors, stored, isa).run(batch.rows, gates, batch.results, scratch);
    for (std::size_t r = 0; r < want.size(); ++r) {
      ASSERT_TRUE(batch.same(r, want[r]))
          << what << ", " << name_of(isa) << ", row " << r << " of " << num_rows;
    }
    EXPECT_FALSE(batch.strayed()) << what << ", " << name_of(isa);
  }
}

TEST(Expert, EveryShapeGivesTheBitsOfTheScalarRestatement) {
  std::mt19937 generator(1);
  for (std::uint32_t trial = 0; trial < 40; ++trial) {
    ExpertSpec spec;
    spec.hidden = static_cast<std::int64_t>(generator() % 80 + 1);
    spec.width = static_cast<std::int64_t>(generator() % 80 + 1);
    spec.biases = generator() % 2 == 0;
    const Weights weights(spec, trial);
    const DType stored = kStored[generator() % kStored.size()];
    expect_same_bits(spec, weights.tensors, stored, static_cast<std::int64_t>(generator() % 40),
                     generator() % 3 == 0,
                     std::to_string(spec.hidden) + " x " + std::to_string(spec.width));
  }
}

TEST(Expert, DepthsThatCrossTheBlocksOfAPanelGiveTheSameBits) {
  // Blocks are 256 inputs of float32 and 512 of the narrow types; groups are 4, 6 or 12 rows.
  for (const auto& [hidden, width] : {std::pair{259, 515}, {1031, 17}, {21, 1026}, {512, 256}}) {
    const ExpertSpec spec{Unit::kGated, Activation::kSilu, hidden, width, true};
    const Weights weights(spec, 21);
    for (const DType stored : kStored) {
      for (const std::int64_t num_rows : {1, 5, 12, 13, 27}) {
        expect_same_bits(spec, weights.tensors, stored, num_rows, false,
                         std::to_string(hidden) + " x " + std::to_string(width));
      }
    }
  }
}

TEST(Expert, EveryUnitAndActivationGivesTheBitsOfTheScalarRestatement) {
  for (const Unit unit : {Unit::kGated, Unit::kPlain, Unit::kTrilinear}) {
    for (const Activation activation :
         {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
          Activation::kClampedSwiglu}) {
      if (activation == Activation::kClampedSwiglu && unit != Unit::kGated) continue;
      for (const bool biases : {false, true}) {
        ExpertSpec spec{unit, activation, 21, 37, biases};
        spec.swiglu_limit = 1.5F;  // so that it bites
        expect_same_bits(spec, Weights(spec, 9).tensors, DType::kFloat32, 14, false,
                         "unit " + std::to_string(static_cast<int>(unit)) + " activation " +
                             std::to_string(static_cast<int>(activation)));
      }
    }
  }
}

TEST(Expert, AHiddenOrAWidthOfOneWorks) {
  for (const auto& [hidden, width] : {std::pair{1, 1}, {1, 40}, {40, 1}, {32, 16}, {33, 17}}) {
    const ExpertSpec spec{Unit::kGated, Activation::kSilu, hidden, width, true};
    for (const DType stored : kStored) {
      expect_same_bits(spec, Weights(spec, 2).tensors, stored, 3, true, "small");
    }
  }
}

double in_double(const ExpertSpec& spec, double g, double u) {
  const double half = std::sqrt(0.5);
  switch (spec.activation) {
    case Activation::kSilu:
      return g / (1 + std::exp(-g)) * u;
    case Activation::kGeluErf:
      return 0.5 * g * (1 + std::erf(g * half)) * u;
    case Activation::kGeluTanh:
      return 0.5 * g *
             (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (g + 0.044715 * g * g * g))) * u;
    case Activation::kRelu:
      return std::max(g, 0.0) * u;
    case Activation::kClampedSwiglu:
      break;
  }
  const double limit = static_cast<double>(spec.swiglu_limit);
  const double clamped = std::min(g, limit);
  const double alpha = static_cast<double>(spec.swiglu_alpha);
  return (std::min(std::max(u, -limit), limit) + 1) * clamped / (1 + std::exp(-alpha * clamped));
}

TEST(Expert, AgreesWithTheFormulasOfTheSpecInDouble) {
  for (const Activation activation :
       {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
        Activation::kClampedSwiglu}) {
    for (const Unit unit : {Unit::kGated, Unit::kPlain, Unit::kTrilinear}) {
      if (activation == Activation::kClampedSwiglu && unit != Unit::kGated) continue;
      ExpertSpec spec{unit, activation, 48, 40, true};
      spec.swiglu_limit = 1.0F;
      const Weights weights(spec, 4);
      const ExpertTensors& t = weights.tensors;
      Batch batch(9, 48, 6);
      AlignedBuffer scratch;
      PackedExpert(spec, t, DType::kFloat32, best_isa())
          .run(batch.rows, {}, batch.results, scratch);
      const auto product = [](const WeightView& w, std::int64_t o, const auto& x,
                              const std::vector<float>& bias) {
        double sum = bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<std::size_t>(o)]);
        for (std::int64_t i = 0; i < w.in; ++i) {
          sum +=
              static_cast<double>(w.at(o, i)) * static_cast<double>(x[static_cast<std::size_t>(i)]);
        }
        return sum;
      };
      for (std::size_t r = 0; r < 9; ++r) {
        std::vector<double> h;
        for (std::int64_t o = 0; o < 40; ++o) {
          const double u = product(t.up, o, batch.row(r), t.up_bias);
          const double g = unit == Unit::kPlain ? u : product(t.gate, o, batch.row(r), t.gate_bias);
          h.push_back(in_double(spec, g, unit == Unit::kPlain ? 1.0 : u));
          if (unit == Unit::kTrilinear) h.back() *= product(t.linear, o, batch.row(r), {});
        }
        for (std::int64_t o = 0; o < 48; ++o) {
          EXPECT_NEAR(static_cast<double>(batch.results[r][o]), product(t.down, o, h, t.down_bias),
                      4e-5)
              << "activation " << static_cast<int>(activation) << " unit "
              << static_cast<int>(unit);
        }
      }
    }
  }
}

TEST(Expert, ARowsBitsDoNotDependOnTheOtherRowsOrOnItsPlace) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 72, 56, true};
  const Weights weights(spec, 8);
  for (const Isa isa : isas_here()) {
    for (const DType stored : kStored) {
      const PackedExpert expert(spec, weights.tensors, stored, isa);
      AlignedBuffer scratch;
      Batch all(450, 72, 12);  // more than go through at once
      expert.run(all.rows, {}, all.results, scratch);
      for (std::size_t count = 1; count < 60; count += count < 14 ? 1 : 7) {
        Batch some(450, 72, 12);
        const std::size_t first = 5 * count;
        expert.run(std::span(some.rows).subspan(first, count), {},
                   std::span(some.results).subspan(first, count), scratch);
        for (std::size_t r = first; r < first + count; ++r) {
          ASSERT_EQ(std::memcmp(some.results[r], all.results[r], 72 * sizeof(float)), 0)
              << name_of(isa) << ", row " << r << " among " << count;
        }
      }
    }
  }
}

TEST(Expert, WorkersThatShareItGetTheBitsOfOneThatRunsItAlone) {
  for (const Unit unit : {Unit::kGated, Unit::kPlain, Unit::kTrilinear}) {
    for (const Activation activation :
         {Activation::kSilu, Activation::kGeluErf, Activation::kGeluTanh, Activation::kRelu,
          Activation::kClampedSwiglu}) {
      if (activation == Activation::kClampedSwiglu && unit != Unit::kGated) continue;
      for (const auto& [hidden, width] : {std::pair{67, 101}, {96, 33}, {5, 130}, {33, 15}}) {
        const ExpertSpec spec{unit, activation, hidden, width, true};
        const Weights weights(spec, 17);
        for (const Isa isa : isas_here()) {
          const PackedExpert expert(spec, weights.tensors, DType::kBfloat16, isa);
          EXPECT_EQ(expert.up_parts(), (width + 31) / 32);
          EXPECT_EQ(expert.down_parts(), (hidden + 31) / 32);
          const std::int64_t num_rows = width == 33 ? 205 : 3;  // more than go through at once
          std::mt19937 generator(3);
          const auto gates = normal_values(num_rows, 1.0F, generator);
          Batch whole(num_rows, hidden, 5);
          AlignedBuffer scratch;
          expert.run(whole.rows, gates, whole.results, scratch);
          for (const std::int64_t step : {1, 2, 3}) {
            const auto parts = run_in_parts(expert, whole, gates, step);
            ASSERT_EQ(std::memcmp(parts.data(), whole.output.data(), parts.size() * sizeof(float)),
                      0)
                << name_of(isa) << ", " << hidden << " x " << width << ", parts of " << step;
          }
        }
      }
    }
  }
}

TEST(Expert, ABlockPackedElsewhereRunsInPlace) {
  const ExpertSpec spec{Unit::kTrilinear, Activation::kGeluTanh, 43, 37, true};
  const Weights weights(spec, 3);
  for (const DType stored : kStored) {
    const std::int64_t bytes = PackedExpert::packed_bytes(spec, stored);
    EXPECT_EQ(bytes % 64, 0);
    AlignedBuffer memory(static_cast<std::size_t>(bytes) + 128);
    std::memset(memory.as<std::byte>(), 0x77, memory.size());
    PackedExpert::pack(spec, weights.tensors, stored, memory.as<std::byte>() + 64);
    for (const std::size_t outside : {std::size_t{63}, static_cast<std::size_t>(bytes) + 64}) {
      EXPECT_EQ(memory.as<std::byte>()[outside], std::byte{0x77});
    }
    for (const Isa isa : isas_here()) {
      const PackedExpert view(spec, stored, memory.as<std::byte>() + 64, isa);
      EXPECT_EQ(view.bytes(), bytes);
      Batch mine(4, 43, 1);
      Batch theirs(4, 43, 1);
      AlignedBuffer scratch;
      PackedExpert(spec, weights.tensors, stored, isa).run(mine.rows, {}, mine.results, scratch);
      view.run(theirs.rows, {}, theirs.results, scratch);
      EXPECT_EQ(mine.output, theirs.output) << name_of(stored) << " " << name_of(isa);
    }
  }
  AlignedBuffer memory(128);
  EXPECT_THROW(PackedExpert(spec, DType::kFloat32, memory.as<std::byte>() + 4, Isa::kPortable),
               std::invalid_argument);
}

TEST(Expert, AdditionsInAnyOrderAreForComparisonAndStayClose) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 517, 300, true};
  const Weights weights(spec, 23);
  for (const DType stored : kStored) {
    for (const std::int64_t num_rows : {1, 3, 7, 8, 30}) {
      PackedExpert expert(spec, weights.tensors, stored, best_isa());
      Batch ordered(num_rows, spec.hidden, 5);
      Batch any(num_rows, spec.hidden, 5);
      AlignedBuffer scratch;
      expert.run(ordered.rows, {}, ordered.results, scratch);
      expert.add_in_any_order();
      expert.run(any.rows, {}, any.results, scratch);
      for (std::size_t i = 0; i < any.output.size(); ++i) {
        ASSERT_NEAR(any.output[i], ordered.output[i], 1e-4F) << num_rows << " rows, " << i;
      }
    }
  }
}

TEST(Expert, ReleasedLayoutsAreReadInPlace) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 20, 18, false};
  const Weights weights(spec, 13);
  // [in, out] with gate and up interleaved, as gpt-oss has it, and down as [in, out].
  std::vector<float> interleaved(20 * 36);
  std::vector<float> down(18 * 20);
  for (std::int64_t o = 0; o < 18; ++o) {
    for (std::int64_t i = 0; i < 20; ++i) {
      interleaved[static_cast<std::size_t>(i * 36 + 2 * o)] = weights.tensors.gate.at(o, i);
      interleaved[static_cast<std::size_t>(i * 36 + 2 * o + 1)] = weights.tensors.up.at(o, i);
      down[static_cast<std::size_t>(o * 20 + i)] = weights.tensors.down.at(i, o);
    }
  }
  ExpertTensors strided;
  strided.gate = {interleaved.data(), DType::kFloat32, 18, 20, 2, 36};
  strided.up = {interleaved.data() + 1, DType::kFloat32, 18, 20, 2, 36};
  strided.down = {down.data(), DType::kFloat32, 20, 18, 1, 20};
  Batch plain(5, 20, 1);
  Batch other(5, 20, 1);
  AlignedBuffer scratch;
  PackedExpert(spec, weights.tensors, DType::kFloat32, best_isa())
      .run(plain.rows, {}, plain.results, scratch);
  PackedExpert(spec, strided, DType::kFloat32, best_isa())
      .run(other.rows, {}, other.results, scratch);
  EXPECT_EQ(std::memcmp(plain.output.data(), other.output.data(), plain.output.size() * 4), 0);
}

TEST(Expert, Bfloat16SourcesAreStoredExactlyEitherWay) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 19, 35, false};
  const Weights weights(spec, 14);
  const auto narrow = [](const std::vector<float>& values) {
    std::vector<std::uint16_t> bits;
    for (const float value : values) bits.push_back(narrow_bfloat16(value));
    return bits;
  };
  const auto gate = narrow(weights.gate);
  const auto up = narrow(weights.up);
  const auto down = narrow(weights.down);
  ExpertTensors halves = weights.tensors;
  halves.gate = {gate.data(), DType::kBfloat16, 35, 19, 19, 1};
  halves.up = {up.data(), DType::kBfloat16, 35, 19, 19, 1};
  halves.down = {down.data(), DType::kBfloat16, 19, 35, 35, 1};
  std::vector<std::vector<float>> outputs;
  using Case = std::pair<const ExpertTensors*, DType>;
  for (const auto& [tensors, stored] :
       {Case{&halves, DType::kBfloat16}, Case{&halves, DType::kFloat32},
        Case{&weights.tensors, DType::kBfloat16}, Case{&weights.tensors, DType::kFloat32}}) {
    Batch batch(7, 19, 1);
    AlignedBuffer scratch;
    PackedExpert(spec, *tensors, stored, best_isa()).run(batch.rows, {}, batch.results, scratch);
    outputs.push_back(batch.output);
  }
  EXPECT_EQ(std::memcmp(outputs[0].data(), outputs[1].data(), outputs[0].size() * 4), 0);
  EXPECT_EQ(std::memcmp(outputs[0].data(), outputs[2].data(), outputs[0].size() * 4), 0);
  EXPECT_NE(std::memcmp(outputs[0].data(), outputs[3].data(), outputs[0].size() * 4), 0);
}

TEST(Expert, BytesAreThoseOfThePaddedPanels) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 40, 20, false};
  const Weights weights(spec, 1);
  // Two panels of 16 + 16 columns over 40 inputs, two of 32 columns over 20.
  EXPECT_EQ(PackedExpert(spec, weights.tensors, DType::kFloat32, Isa::kPortable).bytes(),
            2 * 40 * 32 * 4 + 2 * 20 * 32 * 4);
  EXPECT_EQ(PackedExpert(spec, weights.tensors, DType::kBfloat16, Isa::kPortable).bytes(),
            2 * 40 * 32 * 2 + 2 * 20 * 32 * 2);
}

TEST(Expert, MistakesAreNamed) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 7, 8, false};
  const Weights good(spec, 1);
  const auto message = [](const ExpertSpec& s, const ExpertTensors& tensors) -> std::string {
    try {
      const PackedExpert expert(s, tensors, DType::kFloat32, Isa::kPortable);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(spec, good.tensors), "no error");
  ExpertTensors bad = good.tensors;
  bad.up.out = 5;
  EXPECT_EQ(message(spec, bad), "expert: up is [5, 7], want [8, 7]");
  bad = good.tensors;
  bad.gate = {};
  EXPECT_EQ(message(spec, bad), "expert: gate is absent, want [8, 7]");
  bad = good.tensors;
  bad.linear = bad.up;
  EXPECT_EQ(message(spec, bad), "expert: linear is [8, 7], want none");
  bad = good.tensors;
  bad.up_bias.resize(8);
  EXPECT_EQ(message(spec, bad), "expert: up_bias has 8 elements, want 0");
  ExpertSpec clamped = spec;
  clamped.unit = Unit::kPlain;
  clamped.activation = Activation::kClampedSwiglu;
  EXPECT_THAT(message(clamped, good.tensors), testing::HasSubstr("clamped swiglu"));

  const PackedExpert expert(spec, good.tensors, DType::kFloat32, Isa::kPortable);
  Batch batch(3, 7, 1);
  AlignedBuffer scratch;
  EXPECT_THROW(expert.run(batch.rows, {}, std::span(batch.results).first(2), scratch),
               std::invalid_argument);
  const std::vector<float> gates(2);
  EXPECT_THROW(expert.run(batch.rows, gates, batch.results, scratch), std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::experts
