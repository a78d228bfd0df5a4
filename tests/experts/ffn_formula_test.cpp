// SPDX-License-Identifier: Apache-2.0
// PackedExpert against a scalar restatement of its contract (same bits) and of its formulas in
// double (close), on every instruction set that the processor has.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "experts/ffn.hpp"
#include "experts/kernels/activation.hpp"
#include "tests/experts/random_expert.hpp"

namespace switchyard::experts {
namespace {

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
}  // namespace
}  // namespace switchyard::experts
