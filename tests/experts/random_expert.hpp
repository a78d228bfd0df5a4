// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Experts and rows of random numbers, for tests of their networks.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "experts/kernels/isa.hpp"
#include "experts/weights.hpp"

namespace switchyard::experts {

/// Stored types without scales.
inline constexpr std::array kStored = {DType::kFloat32, DType::kBfloat16, DType::kFloat16};

inline std::vector<Isa> isas_here() {
  std::vector<Isa> isas = {Isa::kPortable};
  if (best_isa() >= Isa::kAvx2) isas.push_back(Isa::kAvx2);
  if (best_isa() >= Isa::kAvx512) isas.push_back(Isa::kAvx512);
  return isas;
}

inline std::vector<float> normal_values(std::int64_t count, float scale, std::mt19937& generator) {
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// Weights in float32 that own themselves; views into them are an expert's tensors.
struct Weights {
  ExpertSpec spec;
  std::vector<float> gate, up, linear, down;
  ExpertTensors tensors;

  Weights(const ExpertSpec& s, std::uint32_t seed) : spec(s) {
    std::mt19937 generator(seed);
    const float gain = 1.0F / std::sqrt(static_cast<float>(s.hidden));
    const std::int64_t size = s.hidden * s.width;
    const auto view = [](const std::vector<float>& values, std::int64_t out, std::int64_t in) {
      return WeightView{values.data(), DType::kFloat32, out, in, in, 1};
    };
    if (s.unit != Unit::kPlain) {
      gate = normal_values(size, 2 * gain, generator);
      tensors.gate = view(gate, s.width, s.hidden);
      if (s.biases) tensors.gate_bias = normal_values(s.width, 1.0F, generator);
    }
    up = normal_values(size, 2 * gain, generator);
    tensors.up = view(up, s.width, s.hidden);
    if (s.unit == Unit::kTrilinear) {
      linear = normal_values(size, gain, generator);
      tensors.linear = view(linear, s.width, s.hidden);
    }
    down = normal_values(size, 1.0F / std::sqrt(static_cast<float>(s.width)), generator);
    tensors.down = view(down, s.hidden, s.width);
    if (s.biases) {
      tensors.up_bias = normal_values(s.width, 1.0F, generator);
      tensors.down_bias = normal_values(s.hidden, 1.0F, generator);
    }
  }
};

/// Rows and results at odd addresses, with room between them that must stay untouched.
struct Batch {
  static constexpr float kUntouched = -777.0F;
  std::int64_t hidden;
  std::uint32_t seed;
  std::vector<float> input, output;
  std::vector<const float*> rows;
  std::vector<float*> results;

  Batch(std::int64_t num_rows, std::int64_t h, std::uint32_t s)
      : hidden(h), seed(s), output(static_cast<std::size_t>(num_rows * (h + 3) + 1), kUntouched) {
    std::mt19937 generator(seed);
    input = normal_values(num_rows * (h + 1) + 1, 1.0F, generator);
    for (std::int64_t r = 0; r < num_rows; ++r) {
      rows.push_back(input.data() + 1 + r * (h + 1));
      results.push_back(output.data() + 1 + (num_rows - 1 - r) * (h + 3));
    }
  }
  [[nodiscard]] std::span<const float> row(std::size_t r) const {
    return {rows[r], static_cast<std::size_t>(hidden)};
  }
  [[nodiscard]] bool same(std::size_t r, const std::vector<float>& want) const {
    return std::memcmp(results[r], want.data(), want.size() * sizeof(float)) == 0;
  }
  [[nodiscard]] bool strayed() const {
    std::int64_t untouched = 0;
    for (const float value : output) untouched += value == kUntouched ? 1 : 0;
    return untouched != static_cast<std::int64_t>(rows.size()) * 3 + 1;
  }
};
}  // namespace switchyard::experts
