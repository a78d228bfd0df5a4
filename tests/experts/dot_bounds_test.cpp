// SPDX-License-Identifier: Apache-2.0
// Native products (bfloat16 and int8 dot products) and float32 products of weights with scales
// against the network of the stored weights in double, by every set of instructions that this
// processor has for them.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "experts/ffn.hpp"
#include "experts/kernels/activation.hpp"
#include "experts/kernels/quantise.hpp"
#include "tests/experts/dot_ways.hpp"
#include "tests/experts/random_expert.hpp"
#include "tests/experts/run_expert.hpp"

namespace switchyard::experts {
namespace {

/// The weight as panels of a type hold it, in double.
std::vector<double> stored_weights(const WeightView& weight, DType stored) {
  std::vector<double> values(static_cast<std::size_t>(weight.out * weight.in));
  if (stored == DType::kFp8 || stored == DType::kMxfp4) {  // quantise_test has what it is worth
    const QuantisedMatrix matrix = quantise(weight, stored);
    for (std::int64_t i = 0; i < weight.out * weight.in; ++i) {
      values[static_cast<std::size_t>(i)] =
          static_cast<double>(matrix.view.at(i / weight.in, i % weight.in));
    }
    return values;
  }
  for (std::int64_t o = 0; o < weight.out; ++o) {
    for (std::int64_t first = 0; first < weight.in; first += 128) {
      const std::int64_t end = std::min(first + 128, weight.in);
      float largest = 0;
      for (std::int64_t i = first; i < end; ++i) {
        largest = std::max(largest, std::abs(weight.at(o, i)));
      }
      const float inverse = 127.0F / largest;
      for (std::int64_t i = first; i < end; ++i) {
        const float w = weight.at(o, i);
        const bool narrow = stored == DType::kBfloat16;
        values[static_cast<std::size_t>(o * weight.in + i)] =
            narrow ? static_cast<double>(widen_bfloat16(narrow_bfloat16(w)))
                   : static_cast<double>(std::nearbyint(w * inverse)) *
                         static_cast<double>(largest / 127.0F);
      }
    }
  }
  return values;
}

/// A vector of inputs and how far each may be from it.
struct Inexact {
  std::vector<double> values, errors;
};

/// What rounding its inputs adds to their errors: half a unit of bfloat16, half a step of int8 (the
/// largest of the group, errors included, over `steps`), or nothing.
Inexact rounded(const Way& way, Inexact x, double steps) {
  const bool native = way.math == Math::kNative;
  if (!native) return x;
  for (std::size_t first = 0; first < x.values.size(); first += 128) {
    const std::size_t end = std::min(first + 128, x.values.size());
    double largest = 0;
    for (std::size_t i = first; i < end; ++i) {
      largest = std::max(largest, std::abs(x.values[i]) + x.errors[i]);
    }
    for (std::size_t i = first; i < end; ++i) {
      const double size = std::abs(x.values[i]) + x.errors[i];
      x.errors[i] +=
          way.stored == DType::kBfloat16 ? size * 0x1p-8 + 0x1p-126 : largest / steps * 0.5001;
    }
  }
  return x;
}

/// Products of rounded inputs: their errors, and those of float32 sums of `inputs` terms.
Inexact product(const std::vector<double>& weights, const Inexact& x,
                const std::vector<float>& bias, std::size_t outputs) {
  const std::size_t inputs = x.values.size();
  Inexact y;
  for (std::size_t o = 0; o < outputs; ++o) {
    double sum = bias.empty() ? 0.0 : static_cast<double>(bias[o]);
    double error = 0;
    double size = std::abs(sum);
    for (std::size_t i = 0; i < inputs; ++i) {
      const double w = weights[o * inputs + i];
      sum += w * x.values[i];
      error += std::abs(w) * x.errors[i];
      size += std::abs(w) * (std::abs(x.values[i]) + x.errors[i]);
    }
    y.values.push_back(sum);
    y.errors.push_back(error + size * static_cast<double>(inputs + 8) * 0x1p-23);
  }
  return y;
}

/// |derivative| of silu is at most 1.1, of relu 1, of either gelu 1.13.
constexpr double kSteepest = 1.13;

double activated(Activation activation, double x) {
  return static_cast<double>(activate(activation, static_cast<float>(x)));
}

/// The network of the stored weights in double, with a bound of what its products may be off by.
Inexact reference_of(const Way& way, const ExpertSpec& spec, const ExpertTensors& t,
                     std::span<const float> row) {
  Inexact x;
  for (const float value : row) x.values.push_back(static_cast<double>(value));
  x.errors.assign(x.values.size(), 0.0);
  x = rounded(way, x, 127);
  const auto width = static_cast<std::size_t>(spec.width);
  const Inexact u = product(stored_weights(t.up, way.stored), x, t.up_bias, width);
  Inexact h;
  h.errors.resize(width);
  h.values.resize(width);
  Inexact g = u;
  if (spec.unit != Unit::kPlain) {
    g = product(stored_weights(t.gate, way.stored), x, t.gate_bias, width);
  }
  for (std::size_t i = 0; i < width; ++i) {
    const double a = activated(spec.activation, g.values[i]);
    const double a_error = kSteepest * g.errors[i] + std::abs(g.values[i]) * 0x1p-20;
    const bool plain = spec.unit == Unit::kPlain;
    h.values[i] = plain ? a : a * u.values[i];
    h.errors[i] = plain
                      ? a_error
                      : std::abs(a) * u.errors[i] + a_error * (std::abs(u.values[i]) + u.errors[i]);
  }
  if (spec.unit == Unit::kTrilinear) {
    const Inexact l = product(stored_weights(t.linear, way.stored), x, {}, width);
    for (std::size_t i = 0; i < width; ++i) {
      h.errors[i] =
          std::abs(h.values[i]) * l.errors[i] + h.errors[i] * (std::abs(l.values[i]) + l.errors[i]);
      h.values[i] *= l.values[i];
    }
  }
  return product(stored_weights(t.down, way.stored), rounded(way, h, 32384), t.down_bias,
                 static_cast<std::size_t>(spec.hidden));
}

TEST(Dot, EveryUnitAndRaggedShapeIsWithinTheBoundOfItsRoundings) {
  for (const Way& way : ways_here()) {
    for (const std::int64_t hidden : kRagged) {
      for (const std::int64_t width : kRagged) {
        for (const ExpertSpec& spec : every_unit(hidden, width)) {
          if (spec.activation == Activation::kClampedSwiglu) continue;  // below
          const Weights weights(spec, 21);
          const Batch rows(3, hidden, 6);
          const PackedExpert expert = way.expert(spec, weights.tensors);
          Batch batch(3, hidden, 6);
          AlignedBuffer scratch;
          expert.run(batch.rows, {}, batch.results, scratch);
          for (std::size_t r = 0; r < 3; ++r) {
            const Inexact want = reference_of(way, spec, weights.tensors, rows.row(r));
            for (std::size_t o = 0; o < want.values.size(); ++o) {
              ASSERT_NEAR(static_cast<double>(batch.results[r][o]), want.values[o],
                          want.errors[o] + 1e-30)
                  << way.name() << ", " << describe(spec) << ", row " << r << ", output " << o;
            }
          }
        }
      }
    }
  }
}

/// Largest deviation of one output that a stored type may cost; weights have 0.18 of deviation.
double clamped_limit(DType stored) {
  return stored == DType::kMxfp4 ? 1.5 : stored == DType::kFp8 ? 0.4 : 0.1;
}

TEST(Dot, EveryWayAgreesOnTheClampedUnit) {
  const ExpertSpec spec = every_unit(130, 130).at(4);
  ASSERT_EQ(spec.activation, Activation::kClampedSwiglu);
  const Weights weights(spec, 4);
  const Batch rows(5, spec.hidden, 2);
  const std::vector<float> exact =
      output_of(PackedExpert(spec, weights.tensors, DType::kFloat32, best_isa()), rows);
  for (const Way& way : ways_here()) {
    const std::vector<float> got = output_of(way.expert(spec, weights.tensors), rows);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], exact[i], clamped_limit(way.stored)) << way.name();
    }
  }
}

TEST(Dot, ScaledWeightsWithFloat32ProductsAreOneChainOfFusedAdditions) {
  const ExpertSpec spec{Unit::kPlain, Activation::kRelu, 300, 1, false};
  Weights weights(spec, 6);
  const Batch rows(1, spec.hidden, 9);
  for (const Way& way : ways_here()) {
    if (way.math != Math::kFloat32) continue;
    weights.down.assign(weights.down.size(), 0.0F);
    weights.down[0] = way.stored == DType::kInt8  ? 127.0F  // a scale of 1
                      : way.stored == DType::kFp8 ? 448.0F
                                                  : 4.0F;
    const std::vector<double> stored = stored_weights(weights.tensors.up, way.stored);
    float sum = 0;
    for (std::size_t i = 0; i < stored.size(); ++i) {
      sum = std::fma(static_cast<float>(stored[i]), rows.row(0)[i], sum);
    }
    Batch batch(1, spec.hidden, 9);
    AlignedBuffer scratch;
    way.expert(spec, weights.tensors).run(batch.rows, {}, batch.results, scratch);
    EXPECT_EQ(batch.results[0][0], weights.down[0] * std::max(sum, 0.0F)) << way.name();
  }
}

double rms(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

/// Largest error of an expert of OLMoE, root mean square over that of the results.
void expect_olmoe_errors(const Weights& weights, Batch& batch, double bfloat16, double int8,
                         double int8_weights) {
  const auto hidden = static_cast<std::size_t>(weights.spec.hidden);
  const auto width = static_cast<std::size_t>(weights.spec.width);
  const auto as_double = [](const std::vector<float>& values) {
    return std::vector<double>(values.begin(), values.end());
  };
  const std::vector<double> gate = as_double(weights.gate);
  const std::vector<double> up = as_double(weights.up);
  const std::vector<double> down = as_double(weights.down);
  std::vector<double> want;
  for (std::size_t r = 0; r < batch.rows.size(); ++r) {
    Inexact x;
    for (const float value : batch.row(r)) x.values.push_back(static_cast<double>(value));
    x.errors.assign(hidden, 0.0);
    Inexact h = product(gate, x, {}, width);
    const Inexact u = product(up, x, {}, width);
    for (std::size_t i = 0; i < width; ++i) {
      h.values[i] = h.values[i] / (1 + std::exp(-h.values[i])) * u.values[i];
    }
    const Inexact y = product(down, h, {}, hidden);
    want.insert(want.end(), y.values.begin(), y.values.end());
  }
  for (const Way& way : ways_here()) {
    if (way.stored == DType::kFp8 || way.stored == DType::kMxfp4) continue;  // in quantise_test
    const double limit = way.stored == DType::kBfloat16 ? bfloat16
                         : way.math == Math::kNative    ? int8
                                                        : int8_weights;
    AlignedBuffer scratch;
    way.expert(weights.spec, weights.tensors).run(batch.rows, {}, batch.results, scratch);
    std::vector<double> error;
    for (std::size_t i = 0; i < want.size(); ++i) {
      error.push_back(static_cast<double>(batch.results[i / hidden][i % hidden]) - want[i]);
    }
    const double relative = rms(error) / rms(want);
    EXPECT_LT(relative, limit) << way.name();
    EXPECT_GT(relative, limit / 2) << way.name();  // it is what it says
  }
}

TEST(Dot, AnExpertOfOlmoeIsAsCloseToDoubleAsItsTypesAllow) {
  const ExpertSpec spec{Unit::kGated, Activation::kSilu, 2048, 1024, false};
  Weights weights(spec, 5);  // normal: the largest of 128 values is 2.7 of their deviations
  Batch batch(3, spec.hidden, 3);
  expect_olmoe_errors(weights, batch, 5e-3, 1.6e-2, 1.3e-2);
  // Uniform, as synthetic weights and tokens are.
  std::mt19937 generator(4);
  const auto fill = [&](std::vector<float>& values, float amplitude) {
    std::uniform_real_distribution<float> uniform(-amplitude, amplitude);
    for (float& value : values) value = uniform(generator);
  };
  fill(weights.gate, std::sqrt(3.0F / 2048));
  fill(weights.up, std::sqrt(3.0F / 2048));
  fill(weights.down, std::sqrt(3.0F / 1024));
  fill(batch.input, std::sqrt(3.0F));
  expect_olmoe_errors(weights, batch, 5e-3, 1.1e-2, 1e-2);
}
}  // namespace
}  // namespace switchyard::experts
